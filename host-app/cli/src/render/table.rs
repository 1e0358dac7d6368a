//! Columns, laid out as Docker's tables are (Go's tabwriter with a minimal width of 10 and a
//! padding of 3).

const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Lays out lines whose cells are separated by tabs. The last cell of a line is not padded.
pub(crate) fn align(text: &str) -> String {
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter(|row| column + 1 < row.len())
                .map(|row| row[column].chars().count() + PADDING)
                .max()
                .unwrap_or(0)
                .max(MIN_WIDTH)
        })
        .collect();
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < row.len() {
                let missing = widths[column].saturating_sub(cell.chars().count());
                out.push_str(&" ".repeat(missing));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_spaces() {
        let text = "NAME\tSTATE\nlong-name-of-a-machine\trunning\nmü\tstopped\n";
        assert_eq!(
            align(text),
            "NAME                     STATE\n\
             long-name-of-a-machine   running\n\
             mü                       stopped\n"
        );
        assert_eq!(align("A\tB\n"), "A         B\n");
        assert_eq!(align(""), "");
    }
}
