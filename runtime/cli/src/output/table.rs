//! Rows in columns, for people: two spaces apart, nothing behind the last.

use super::style::escape;

/// `rows` under `header`, each line ended. What is in a cell cannot steer a terminal.
pub(super) fn render<'a>(header: &[&str], rows: impl Iterator<Item = &'a [String]>) -> String {
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    let rows = rows.map(|row| row.iter().map(|cell| escape(cell)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let n_columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let joined = cells.collect::<Vec<_>>().join("  ");
        text.push_str(joined.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [vec!["hello".to_owned(), "1".to_owned()], vec!["ä\u{1b}".to_owned(), String::new()]];
        let text = render(&["NAME", "GENERATION"], rows.iter().map(|row| &row[..]));
        assert_eq!(text, "NAME     GENERATION\nhello    1\nä\\u{1b}\n");
    }
}
