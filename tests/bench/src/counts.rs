//! Holds the counts that clients were told against what they must be: 1 to n, each once.

/// What is wrong with the answers of a counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Answers.
    pub(crate) n: u64,
    /// Counts that nobody was told, though a higher one was: counted, and not for a caller.
    pub(crate) n_lost: u64,
    /// Answers that counted nothing: their count was told before, or is zero.
    pub(crate) n_doubled: u64,
    /// Answers that are not above the one before to the same client.
    pub(crate) n_backward: u64,
}

impl Counts {
    /// Compares all answers; each client's are in its order. Without any fault they are exactly 1
    /// to n.
    pub(crate) fn of<'a>(clients: impl IntoIterator<Item = &'a [u64]>) -> Self {
        let (mut counts, mut all) = (Self::default(), vec![]);
        for client in clients {
            counts.n_backward += client.windows(2).filter(|two| two[1] <= two[0]).count() as u64;
            all.extend_from_slice(client);
        }
        counts.n = all.len() as u64;
        all.sort_unstable();
        let mut last = 0;
        for count in all {
            if count == last {
                counts.n_doubled += 1;
            } else {
                counts.n_lost += count - last - 1;
            }
            last = count;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::thread;
    use wrt_test_support::history::History;
    use wrt_test_support::load::{Load, LoadPlan, Shape};

    use crate::scenarios::load_runtime;

    /// Answers one connection's requests, which have no bodies, with `bodies` and then ends.
    fn server(bodies: &'static [&str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, mut request) = (listener.accept().unwrap().0, vec![]);
            for body in bodies {
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                request.clear();
                let len = body.len();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n{body}").unwrap();
            }
        });
        address
    }

    #[test]
    fn load_keeps_the_numbers_of_its_answers_and_fails_without_one() {
        let bodies = &["1", "2\n", "three", "5"];
        let runtime = load_runtime().unwrap();
        let shapes = vec![Shape::post("/", 0).with_number()];
        // What is not a number ends the connection, so that the fourth is never asked for.
        let plan =
            LoadPlan { n_connections: 1, max_calls: 3, ..LoadPlan::new(server(bodies), shapes) };
        let result = runtime.block_on(async { Load::start(plan).finish().await }).unwrap();
        assert_eq!(result.connections[0].counts, [1, 2]);
        let report = History { connections: result.connections, milestones: vec![] }.check();
        assert_eq!((report.n_calls, report.n_failed), (3, 1), "{report}");
        assert!(report.failures[0].contains("expected a number, found `three`"), "{report}");
    }

    fn check(clients: &[&[u64]], n_lost: u64, n_doubled: u64, n_backward: u64) {
        let n = clients.iter().map(|client| client.len() as u64).sum();
        let expected = Counts { n, n_lost, n_doubled, n_backward };
        assert_eq!(Counts::of(clients.iter().copied()), expected, "{clients:?}");
    }

    #[test]
    fn answers_from_one_on_each_once_are_right() {
        check(&[], 0, 0, 0);
        check(&[&[1]], 0, 0, 0);
        check(&[&[2, 3, 6], &[1, 4], &[], &[5]], 0, 0, 0);
    }

    #[test]
    fn gap_is_a_lost_count_wherever_it_is() {
        check(&[&[2], &[3]], 1, 0, 0);
        check(&[&[1, 5], &[2]], 2, 0, 0);
    }

    #[test]
    fn same_answer_twice_is_a_call_that_counted_nothing() {
        check(&[&[1, 2], &[2, 3]], 0, 1, 0);
        check(&[&[0, 1], &[2]], 0, 1, 0);
        // A counter that began anew.
        check(&[&[1, 2, 3], &[1, 2]], 0, 2, 0);
    }

    #[test]
    fn client_whose_answers_fall_saw_the_counter_go_back() {
        check(&[&[2, 1], &[3, 4]], 0, 0, 1);
        check(&[&[1, 1]], 0, 1, 1);
    }
}
