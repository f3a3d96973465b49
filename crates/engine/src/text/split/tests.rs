use super::*;

fn cut<'a>(patterns: &[&str], text: &'a str) -> Vec<&'a str> {
    let patterns: Vec<_> = patterns.iter().map(|&p| p.to_owned()).collect();
    let mut spans = Vec::new();
    let splitter = Splitter::from_patterns(&patterns).unwrap();
    splitter.split(text, &mut PreTokenizerScratch::default(), &mut spans).unwrap();
    assert_eq!(spans.iter().map(|s| &text[s.range()]).collect::<String>(), text, "spans tile the text");
    spans.iter().map(|s| &text[s.range()]).collect()
}

#[test]
fn own_cuts() {
    assert_eq!(cut(&[THREE_DIGITS], "a12345678b"), ["a", "123", "456", "78b"]);
    assert_eq!(cut(&[DIGITS], "a1234b٣"), ["a", "1234", "b", "٣"]);
    assert_eq!(cut(&[ONE_DIGIT], "a12"), ["a", "1", "2"]);
    assert_eq!(cut(&[PUNCTUATION_BUT_BACKTICK], "a.,`—$+b"), ["a", ".,", "`", "—$+", "b"]);
    assert_eq!(cut(&[PUNCTUATION], "a.,`—$+b"), ["a", ".,`—$+", "b"]);
    assert!(cut(&[GPT2, THREE_DIGITS], "").iter().all(|s| s.is_empty()));
}

#[test]
fn named_pre_tokenizers() {
    let named = |pre: &str, text: &'static str| {
        let (patterns, _) = by_name(pre).unwrap();
        cut(&patterns.iter().map(String::as_str).collect::<Vec<_>>(), text)
    };
    assert_eq!(named("smollm", "I have 42!"), ["I", " have", " ", "4", "2", "!"]);
    assert_eq!(named("llama-bpe", "1234 I'LL\n\n x"), ["123", "4", " I", "'LL", "\n\n", " x"]);
    assert_eq!(named("qwen2", "1234 a"), ["1", "2", "3", "4", " a"]);
    assert_eq!(named("falcon", "x 12345...y"), ["x", " ", "123", "45", "...", "y"]);
    assert_eq!(named("deepseek-v3", "日本a1234"), ["日本", "a", "123", "4"]);
    assert!(by_name("no-such").unwrap_err().detail.contains("no-such"));
}

/// A bound that the library would silently split by three.
#[test]
fn digit_bounds_outside_the_native_grammars() {
    for (bound, want) in [(r"\p{N}{1,2}", &["12", "34"][..]), (r"\p{N}+", &["1234"])] {
        let pattern = LLAMA3.replace(r"\p{N}{1,3}", bound);
        if cfg!(feature = "regex") {
            assert_eq!(cut(&[&pattern], "1234"), want);
        } else {
            assert_eq!(Splitter::from_patterns(&[pattern]).err().unwrap().kind, ErrorKind::Tokenizer);
        }
    }
}

/// Those that need no regular expressions, which a browser does not have.
const NATIVE: [&str; 13] = [
    "llama-bpe",
    "falcon3",
    "falcon_e",
    "dbrx",
    "qwen2",
    "gpt-2",
    "smollm",
    "falcon",
    "default",
    "deepseek-v3",
    "hunyuan-dense",
    "tekken",
    "gpt-4o",
];

#[test]
fn the_families_pre_tokenizers_need_no_engine() {
    for pre in NATIVE {
        let (patterns, _) = by_name(pre).unwrap();
        Splitter::from_patterns(&patterns).unwrap_or_else(|e| panic!("{pre}: {e}"));
    }
}

/// Numbers that look random: a xorshift, from a seed that failures print.
#[cfg(feature = "regex")]
struct Random(u64);

#[cfg(feature = "regex")]
impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    /// Text of what splitters tell apart: letters of every case, marks, digits, spaces, signs, contractions, code.
    fn text(&mut self) -> String {
        const RUNS: &[&str] = &[
            "'s",
            "'LL",
            "'re",
            "'ſ",
            "'",
            "12",
            "1234567",
            "word",
            "Wort",
            "WORD",
            "iPhone",
            "日本語",
            "かな",
            "한국어",
            "й",
            "\u{301}",
            "e\u{301}",
            "\u{200d}",
            "🦙",
            "½",
            "٣",
            "Ⅷ",
            "...",
            "!?",
            "//",
            "\r\n",
            "\n\n",
            "\n",
            "\t",
            " ",
            "  ",
            "    ",
            "\u{a0}",
            "\u{3000}",
            "\u{2028}",
            "\u{85}",
            "\u{b}",
            "\u{c}",
            "—",
            "„",
            "$+<=>^~|",
            "`",
            "ǅ",
            "ʰ",
            "ª",
            "İ",
            "ß",
            "K",
            "_",
            "x_1",
            "fn(a: &[u8]) {",
            "\u{0}",
            "\u{fffd}",
            "\u{10ffff}",
            "\u{e000}",
        ];
        let mut text = String::new();
        for _ in 0..1 + self.below(12) {
            match self.below(8) {
                // Any character that the expressions' tables know: those of the native splitters are newer.
                0 => text.extend(char::from_u32(self.below(0x11_0000) as u32).filter(is_assigned)),
                1 => text.extend(char::from_u32(self.below(0x3000) as u32).filter(is_assigned)),
                _ => text.push_str(RUNS[self.below(RUNS.len())]),
            }
        }
        text
    }
}

/// Whether the expressions' tables know a character: those of the native splitters are newer.
#[cfg(feature = "regex")]
fn is_assigned(c: &char) -> bool {
    static UNASSIGNED: std::sync::LazyLock<Splitter> =
        std::sync::LazyLock::new(|| Splitter::from_patterns(&[r"\p{Cn}".into()]).unwrap());
    let mut spans = Vec::new();
    UNASSIGNED.split(&format!("a{c}"), &mut PreTokenizerScratch::default(), &mut spans).unwrap();
    spans.len() == 1
}

/// Every native splitter is the regular expression that it stands for, run by the engine.
#[cfg(feature = "regex")]
#[test]
fn native_splitters_are_their_expressions() {
    let seed = std::env::var("TERNLIGHT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(158);
    for pre in NATIVE {
        let (patterns, _) = by_name(pre).unwrap();
        let native = Splitter::from_patterns(&patterns).unwrap();
        let mut engine = Splitter::default();
        for pattern in &patterns {
            // A group hides the expression from those who would recognise it.
            let split = Split::new(
                SplitPattern::Regex(format!("(?:{pattern})")),
                SplitDelimiterBehavior::Isolated,
                false,
            );
            let split = split.and_then(Split::canonicalized_for_pipeline).unwrap();
            engine.push(Cut::Library(PipelinePreTokenizer::Split(split)));
        }
        let mut random = Random(seed);
        let mut scratch = PreTokenizerScratch::default();
        for n in 0..1500 {
            let text = random.text();
            let [native, engine] = [&native, &engine].map(|splitter| {
                let mut spans = Vec::new();
                splitter.split(&text, &mut scratch, &mut spans).unwrap();
                spans.iter().map(|span| text[span.range()].to_owned()).collect::<Vec<_>>()
            });
            assert_eq!(native, engine, "{pre}: text {n} of seed {seed}: {text:?}");
        }
    }
}
