//! Known models: the catalogue that the npm package publishes and the page offers from.

use serde::{Deserialize, Serialize};
use ternlight_core::model::arch;

/// A model that is known by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// A short name, unique in the catalogue.
    pub id: String,
    /// What its authors call it.
    pub name: String,
    /// Its authors.
    pub by: String,
    /// As an SPDX expression; `None` where the repository has to be asked.
    pub licence: Option<String>,
    /// As its file names it.
    pub architecture: String,
    /// How most of its weights are stored.
    pub weights: String,
    /// What to use it for.
    pub good_at: String,
    /// Where to fetch it; `None` for the embedded model, and for those that lie in the repository.
    pub source: Option<String>,
    /// Its folder in the repository, for a model that is there only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The length of the file, where that is known.
    pub bytes: Option<u64>,
    /// The checksum of the file, where it is pinned.
    pub sha256: Option<String>,
}

impl Entry {
    /// Whether this version runs models of this architecture.
    pub fn runs(&self) -> bool {
        arch::names().any(|name| name == self.architecture)
    }
}

/// All known models, small and proven ones first.
pub fn entries() -> Vec<Entry> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Catalogue {
        models: Vec<Entry>,
    }
    let catalogue: Catalogue =
        serde_json::from_str(include_str!("../catalogue.json")).expect("a test reads the catalogue");
    catalogue.models
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model_ref::ModelRef;

    #[test]
    fn the_catalogue_is_sound() {
        let entries = entries();
        for (i, entry) in entries.iter().enumerate() {
            assert!(entries[..i].iter().all(|other| other.id != entry.id), "{} is there twice", entry.id);
            let lower_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
            let sound = |sum: &String| sum.len() == 64 && sum.chars().all(lower_hex);
            assert!(entry.sha256.as_ref().is_none_or(sound), "{}", entry.id);
            match (&entry.source, &entry.folder) {
                (Some(source), None) => {
                    assert!(matches!(source.parse(), Ok(ModelRef::Hf { .. })), "{source}");
                }
                (None, Some(folder)) => assert_eq!(*folder, format!("crates/tern/{}", entry.id)),
                (None, None) => assert_eq!(entry.id, ternlight_tern::NAME),
                (Some(_), Some(_)) => panic!("{} is in two places", entry.id),
            }
            assert!(entry.good_at.ends_with('.'), "{}", entry.id);
        }
        assert!(entries.iter().any(Entry::runs));
        let tern: usize = ternlight_tern::FILES.iter().map(|(_, contents)| contents.len()).sum();
        assert_eq!(entries[0].bytes, Some(tern as u64));
    }
}
