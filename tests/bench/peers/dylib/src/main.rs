//! Serves a page from a library that `hot-lib-reloader` loads again whenever it is built anew.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::{io, thread};

// The debounce of the crate's own tests rather than its default of 500 ms: what it can do at best.
#[hot_lib_reloader::hot_module(dylib = "handler", file_watch_debounce = 50)]
mod handler {
    hot_functions_from_file!("handler/src/lib.rs");
}

fn main() -> io::Result<()> {
    // Loads the library, and watches it from now on.
    handler::page();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        // A client that goes ends its thread with an error, which nobody has to know.
        thread::spawn(move || serve(stream));
    }
    Ok(())
}

/// Answers every request of one connection; none of them has a body.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(line) = lines.next() {
        if line?.is_empty() {
            let page = handler::page();
            let len = page.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n");
            stream.write_all((head + &page).as_bytes())?;
        }
    }
    Ok(())
}
