//! Components that differ in the number that each answers with: thousands of them in seconds.

use anyhow::{Context as _, Result, ensure};
use wrt_test_support::guests::Profile;

use crate::project::Project;

/// What the page of number 0 says. It is long, so that the compiler keeps it whole among the
/// component's data instead of making instructions of it.
const TEXT: &str = "handler 00000: one of many handlers whose pages differ in this number only";

/// Where the number is in [`TEXT`].
const DIGITS: std::ops::Range<usize> = 8..13;

/// The component of number 0, and where its number is.
#[derive(Debug)]
pub(crate) struct Numbered {
    component: Vec<u8>,
    digits: std::ops::Range<usize>,
}

impl Numbered {
    /// Builds the smallest handler for number 0.
    pub(crate) fn small() -> Result<Self> {
        Self::new(Project::small()?.component(TEXT, Profile::Release)?)
    }

    /// Builds the plugin `hello`, which is made with the SDK, for number 0.
    pub(crate) fn hello() -> Result<Self> {
        Self::new(Project::hello()?.component(TEXT, Profile::Release)?)
    }

    fn new(component: Vec<u8>) -> Result<Self> {
        let found: Vec<_> = memchr::memmem::find_iter(&component, TEXT).collect();
        ensure!(found.len() == 1, "expected the text once in the component, found it {found:?}");
        let digits = found[0] + DIGITS.start..found[0] + DIGITS.end;
        Ok(Self { component, digits })
    }

    /// The component of `number`.
    pub(crate) fn component(&self, number: usize) -> Result<Vec<u8>> {
        let mut component = self.component.clone();
        let digits = format!("{number:0width$}", width = DIGITS.len());
        let place = component.get_mut(self.digits.clone());
        place
            .filter(|place| place.len() == digits.len())
            .with_context(|| format!("expected a number of five digits, found {number}"))?
            .copy_from_slice(digits.as_bytes());
        Ok(component)
    }

    /// Words that the page of `number` has, and no other.
    pub(crate) fn words(number: usize) -> String {
        format!("handler {number:05}:")
    }

    /// Size of each component in bytes.
    pub(crate) fn len(&self) -> usize {
        self.component.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_differ_in_their_number() {
        let numbered = Numbered::new(format!("before {TEXT} after").into_bytes()).unwrap();
        let text = String::from_utf8(numbered.component(417).unwrap()).unwrap();
        assert!(text.starts_with("before handler 00417: one"), "{text}");
        assert_eq!(text.len(), numbered.len());
        assert!(numbered.component(100_000).is_err());
    }

    #[test]
    fn text_that_is_not_there_once_is_an_error() {
        assert!(Numbered::new(b"other".to_vec()).is_err());
        assert!(Numbered::new(format!("{TEXT}{TEXT}").into_bytes()).is_err());
    }
}
