//! Medians and percentiles of measurements, and how they grow.

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
        self.per_mille(percent * 10)
    }

    /// The same for `per_mille` of 1,000 samples.
    pub(crate) fn per_mille(&self, per_mille: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
        sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    /// How many times as large as in `base` a sample is: the median over pairs that were taken one
    /// after the other, so that what slows the machine for a while slows both of a pair.
    pub(crate) fn over(&self, base: &Self) -> f64 {
        let pairs = self.0.iter().zip(&base.0);
        Self(pairs.map(|(value, base)| value / base).collect()).median()
    }

    /// How much larger than in `base` a sample is: the median over the same pairs.
    pub(crate) fn above(&self, base: &Self) -> f64 {
        let pairs = self.0.iter().zip(&base.0);
        Self(pairs.map(|(value, base)| value - base).collect()).median()
    }

    /// The largest sample.
    pub(crate) fn max(&self) -> f64 {
        self.percentile(100)
    }

    /// `p50 … ms, p90 … ms over N`, for samples in milliseconds.
    pub(crate) fn in_ms(&self) -> String {
        let (p50, p90) = (self.median(), self.percentile(90));
        format!("p50 {p50:.1} ms, p90 {p90:.1} ms over {}", self.len())
    }
}

/// How much `y` grows for each 1 of `x`, by the line that fits the points best (least squares); NaN
/// unless two points differ in `x`.
pub(crate) fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x_mean, y_mean) = (mean(|(x, _)| *x), mean(|(_, y)| *y));
    // From the means, so that large values do not drown small differences.
    let (mut both, mut squares) = (0.0, 0.0);
    for (x, y) in points {
        both += (x - x_mean) * (y - y_mean);
        squares += (x - x_mean).powi(2);
    }
    both / squares
}

/// The power of `x` that `y` grows with, by the line that fits the logarithms best.
pub(crate) fn exponent(points: &[(f64, f64)]) -> f64 {
    slope(&points.iter().map(|(x, y)| (x.ln(), y.ln())).collect::<Vec<_>>())
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
        assert_eq!((samples.per_mille(900), samples.per_mille(901)), (9.0, 10.0));
    }

    #[test]
    fn ratios_are_those_of_pairs() {
        // Twice the base each time, on a machine that becomes slower.
        let base = Samples(vec![1.0, 1.0, 5.0, 9.0, 9.0]);
        let twice = Samples(vec![2.0, 2.0, 10.0, 18.0, 2.0]);
        assert_eq!(twice.over(&base), 2.0);
        assert!(Samples::default().over(&base).is_nan());
    }

    #[test]
    fn slope_is_that_of_the_best_line() {
        let line = |x: f64| (x, 7e9 + 3.0 * x);
        let points: Vec<_> = (0..40).map(|i| line(f64::from(i) * 250.0)).collect();
        assert!((slope(&points) - 3.0).abs() < 1e-6, "{}", slope(&points));
        // Above and below the line in turns, which does not turn it.
        let off = [(0.0, 1.0), (1.0, -1.0), (2.0, -1.0), (3.0, 1.0)];
        assert!(slope(&off).abs() < 1e-9, "{}", slope(&off));
        assert!((slope(&[(0.0, 10.0), (1.0, 10.0), (2.0, 4.0)]) + 3.0).abs() < 1e-9);
    }

    #[test]
    fn exponent_is_the_power() {
        let points: Vec<_> = [1.0, 10.0, 1000.0f64].map(|x| (x, 5.0 * x.powf(0.3))).into();
        assert!((exponent(&points) - 0.3).abs() < 1e-9, "{}", exponent(&points));
    }

    #[test]
    fn slope_of_one_place_is_no_number() {
        assert!(slope(&[]).is_nan() && slope(&[(1.0, 2.0)]).is_nan());
        assert!(slope(&[(1.0, 2.0), (1.0, 2.0)]).is_nan());
    }

    #[test]
    fn nothing_measured_meets_no_bar() {
        assert_eq!(Samples::default().median().partial_cmp(&1.0), None);
    }
}
