//! Stop strings: text that ends an answer and is not part of it.
//!
//! Invariant: no part of a stop string is ever let through, and text that can no longer become one is
//! never kept.

/// Lets text through up to where a stop string may begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopStrings {
    strings: Vec<String>,
    held: String,
}

impl StopStrings {
    /// Empty strings stop nothing.
    pub fn new(strings: &[String]) -> Self {
        Self { strings: strings.iter().filter(|s| !s.is_empty()).cloned().collect(), held: String::new() }
    }

    /// Takes text; appends to `out` what is certain. Returns the stop string that was found; what follows
    /// it is dropped.
    pub fn push(&mut self, text: &str, out: &mut String) -> Option<String> {
        self.held.push_str(text);
        // The earliest one wins; of those that begin together, the first in the list.
        let found =
            self.strings.iter().filter_map(|s| Some((self.held.find(s.as_str())?, s))).min_by_key(|f| f.0);
        if let Some((at, string)) = found {
            out.push_str(&self.held[..at]);
            let string = string.clone();
            self.held.clear();
            return Some(string);
        }
        let keep = self.strings.iter().map(|s| self.beginning_of(s)).max().unwrap_or(0);
        let certain = self.held.len() - keep;
        out.push_str(&self.held[..certain]);
        self.held.drain(..certain);
        None
    }

    /// The length of the longest beginning of `string` that the held text ends with.
    fn beginning_of(&self, string: &str) -> usize {
        let starts = string.char_indices().map(|(i, _)| i).skip(1);
        starts.filter(|&i| self.held.ends_with(&string[..i])).last().unwrap_or(0)
    }

    /// The end of the answer: what was held is text.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::StopStrings;

    /// All text through `StopStrings`, cut every `step` characters.
    fn run(stops: &[&str], text: &str, step: usize) -> (String, Option<String>) {
        let stops: Vec<String> = stops.iter().map(|&s| s.into()).collect();
        let (mut stop, mut out) = (StopStrings::new(&stops), String::new());
        let chars: Vec<char> = text.chars().collect();
        for part in chars.chunks(step) {
            let found = stop.push(&part.iter().collect::<String>(), &mut out);
            if found.is_some() {
                return (out, found);
            }
            assert!(text.starts_with(&out));
        }
        stop.finish(&mut out);
        (out, None)
    }

    #[test]
    fn the_cut_of_the_text_does_not_matter() {
        for step in 1..12 {
            assert_eq!(run(&["END"], "aEEND b", step), ("aE".into(), Some("END".into())));
            assert_eq!(run(&["aab"], "aaab", step), ("a".into(), Some("aab".into())));
            assert_eq!(
                run(&["\n\n", "User:"], "hi\nUse\nUser: x", step),
                ("hi\nUse\n".into(), Some("User:".into()))
            );
            assert_eq!(run(&["é—"], "aé—b", step), ("a".into(), Some("é—".into())));
            assert_eq!(run(&["END", ""], "no EN", step), ("no EN".into(), None));
            assert_eq!(run(&[], "text", step), ("text".into(), None));
        }
    }

    #[test]
    fn only_what_may_become_a_stop_string_is_held() {
        let (mut stop, mut out) = (StopStrings::new(&["<end>".into()]), String::new());
        stop.push("a<e", &mut out);
        assert_eq!(out, "a");
        stop.push("x", &mut out);
        assert_eq!(out, "a<ex");
    }
}
