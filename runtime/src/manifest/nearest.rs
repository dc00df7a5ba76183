//! Finds the known word that a mistyped one was meant to be.

/// The word of `known` that differs least from `word`, if it is close enough to be meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // A third of the letters may be wrong, and one always: `rout`, `tiemout`, `expose-generation`.
    let tolerance = (word.chars().count() / 3).max(1);
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Row `i` holds the distances of the first `i` letters of `a` to each beginning of `b`.
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slip_of_the_finger_finds_its_word() {
        let known = ["route", "timeout", "drain", "memory", "expose_generation"];
        let check = |word: &str, expect: Option<&str>| {
            assert_eq!(nearest(word, &known), expect, "`{word}`");
        };
        check("rout", Some("route"));
        check("tiemout", Some("timeout"));
        check("drian", Some("drain"));
        check("expose-generation", Some("expose_generation"));
        check("color", None);
        check("", None);
        check("x", None);
    }
}
