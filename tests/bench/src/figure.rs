//! A figure: what was measured, in which unit, and how it spread.

use std::fmt;

use serde::Serialize;

/// One measured quantity.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    runs: usize,
    min: f64,
    median: f64,
    max: f64,
    /// What we want it to be at most (at least, for MB/s and 1/s); none where there is no aim.
    #[serde(skip_serializing_if = "Option::is_none")]
    aim: Option<f64>,
    /// The same with other programs; none where it was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<f64>,
}

impl Figure {
    /// From every run's value.
    ///
    /// # Panics
    /// When there is none: a figure without a run is a mistake of the caller's.
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a figure needs at least one run");
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self {
            name: name.into(),
            unit,
            runs: values.len(),
            min: values[0],
            median,
            max: values[values.len() - 1],
            aim: None,
            reference: None,
        }
    }

    /// With what we want it to be.
    pub(crate) fn aim(mut self, aim: f64) -> Self {
        self.aim = Some(aim);
        self
    }

    /// With what other programs need for the same.
    pub(crate) fn reference(mut self, reference: f64) -> Self {
        self.reference = Some(reference);
        self
    }

    /// The line above the figures.
    pub(crate) fn header() -> String {
        format!(
            "{:<48} {:>10} {:>10} {:>10} {:>6} {:>9} {:>9}",
            "figure", "median", "min", "max", "runs", "aim", "reference"
        )
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median < 10.0 { 2 } else { 1 };
        let name = format!("{} [{}]", self.name, self.unit);
        write!(
            f,
            "{name:<48} {:>10.digits$} {:>10.digits$} {:>10.digits$} {:>6}",
            self.median, self.min, self.max, self.runs
        )?;
        if self.aim.is_some() || self.reference.is_some() {
            let shown = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
            write!(f, " {:>9} {:>9}", shown(self.aim), shown(self.reference))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_between_the_middle_two() {
        assert_eq!(Figure::new("x", "ms", vec![4.0, 1.0, 3.0, 2.0]).median, 2.5);
        assert_eq!(Figure::new("x", "ms", vec![9.0, 1.0, 5.0]).median, 5.0);
    }
}
