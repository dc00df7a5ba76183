//! Medians and percentiles of a few dozen measurements.

/// Measurements of one thing, in any order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that half of the samples do not exceed.
    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// The value that `percent` of 100 samples do not exceed (nearest rank); NaN without samples,
    /// which no bar is met by.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    /// `p50 … ms, p90 … ms over N`, for samples in milliseconds.
    pub(crate) fn in_ms(&self) -> String {
        let (p50, p90) = (self.median(), self.percentile(90));
        format!("p50 {p50:.1} ms, p90 {p90:.1} ms over {}", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_rank() {
        let mut samples = Samples::default();
        (1..=10).rev().for_each(|value| samples.push(f64::from(value)));
        let at = |percent| samples.percentile(percent);
        assert_eq!((at(50), at(90), at(100), at(0)), (5.0, 9.0, 10.0, 1.0));
    }

    #[test]
    fn nothing_measured_meets_no_bar() {
        assert_eq!(Samples::default().median().partial_cmp(&1.0), None);
    }
}
