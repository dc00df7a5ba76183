//! A release: a component, and the settings that it runs with.

use std::sync::Arc;

use super::Candidate;
use crate::config::Settings;
use crate::id::Digest;

/// What is staged, published and gone back to: a component and the settings that it runs with. Cheap to
/// clone, and never changed.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) candidate: Candidate,
    pub(crate) settings: Arc<Settings>,
    /// Names the component and the settings together.
    pub(crate) digest: Digest,
}

impl Release {
    /// `candidate` with `settings`.
    pub(crate) fn new(candidate: Candidate, settings: Arc<Settings>) -> Self {
        let digest = Self::name(candidate.digest, &settings);
        Self { candidate, settings, digest }
    }

    /// The digest of the release of these bytes with these settings.
    pub(crate) fn name(component: Digest, settings: &Settings) -> Digest {
        let parts = [component, settings.digest()];
        Digest::of(parts.map(|part| *part.as_bytes()).as_flattened())
    }

    /// The same with another form of its component.
    pub(crate) fn with(self, form: impl FnOnce(Candidate) -> Candidate) -> Self {
        Self { candidate: form(self.candidate), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Source;

    #[test]
    fn release_is_named_by_its_component_and_its_settings() {
        let component = |text: &'static str| Candidate::read_now(Source::bytes(text)).unwrap();
        let settings = Settings::default();
        let other = Settings { memory: 1 << 20, ..Settings::default() };
        let name = |text, settings: &Settings| {
            Release::new(component(text), Arc::new(settings.clone())).digest
        };
        assert_eq!(name("a", &settings), name("a", &settings));
        assert_ne!(name("a", &settings), name("b", &settings));
        assert_ne!(name("a", &settings), name("a", &other));
    }
}
