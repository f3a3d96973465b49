//! Rendering, against `transformers` and Jinja.

use std::path::PathBuf;

use super::*;

pub(super) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/tokenizers/templates")
}

pub(super) fn template(source: &str) -> Template {
    Template { source: source.into(), bos: "<|bos|>".into(), eos: "<|eos|>".into() }
}

/// 2026-01-05 09:08:07 UTC, as in `expect.py`.
const NOW: i64 = 1_767_604_087;

#[test]
fn renders_as_transformers() {
    let cases: Json =
        serde_json::from_str(&std::fs::read_to_string(folder().join("expected.json")).unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 60);
    for case in cases {
        let name = format!("{} {}", case["template"], case["conversation"]);
        let source = std::fs::read_to_string(folder().join(case["template"].as_str().unwrap())).unwrap();
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let mut vars = case["vars"].as_object().unwrap().clone();
        let add_generation_prompt = vars.remove("add_generation_prompt").unwrap().as_bool().unwrap();
        let options = ChatOptions { add_generation_prompt, vars };
        let got = template(&source).render(&messages, &options, Some(NOW));
        match case.get("error") {
            Some(error) => {
                let got = got.expect_err(&name);
                assert_eq!(got.kind, ErrorKind::Template);
                assert!(got.detail.contains(error.as_str().unwrap()), "{name}: {got}");
            }
            None => {
                let got = got.unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(got.text, case["text"].as_str().unwrap(), "{name}");
            }
        }
    }
}

#[test]
fn the_built_in_template_is_the_tested_one() {
    assert_eq!(std::fs::read_to_string(folder().join("bitnet-b1.58-2b4t.jinja")).unwrap(), BITNET);
}

#[test]
fn broken_templates_say_where() {
    let error = template("a\n{% if %}").render(&[], &ChatOptions::default(), None).unwrap_err();
    assert!(error.detail.contains("line 2"), "{error}");
}

/// The beginning and the end of a tag may share a character; it once cost a panic.
#[test]
fn half_a_tag_beside_a_generation_tag() {
    for source in [
        "{%}{% generation %}",
        "{% generation %}{%",
        "{%}generation",
        "{%-%}{% generation -%} x{% endgeneration %}",
    ] {
        let _ = template(source).render(&[], &ChatOptions::default(), None);
    }
    let source = "a\n  {%- generation %}\nb{% endgeneration %}c";
    assert_eq!(template(source).render(&[], &ChatOptions::default(), None).unwrap().text, "abc");
}

#[test]
fn dates() {
    let strftime = |format: &str, now| {
        let source = format!("{{{{ strftime_now('{format}') }}}}");
        template(&source).render(&[], &ChatOptions::default(), Some(now)).map(|r| r.text)
    };
    let at = |now| strftime("%Y-%m-%d %H:%M:%S %a %j %y %I%p", now).unwrap();
    assert_eq!(at(0), "1970-01-01 00:00:00 Thu 001 70 12AM");
    assert_eq!(at(951_782_400 + 86_399), "2000-02-29 23:59:59 Tue 060 00 11PM");
    assert_eq!(at(4_107_542_400), "2100-03-01 00:00:00 Mon 060 00 12AM");
    assert_eq!(at(-1), "1969-12-31 23:59:59 Wed 365 69 11PM");
    assert!(strftime("%Q", 0).is_err());
}

/// Expressions and statements that no well-known template happens to have, against Jinja itself.
#[test]
fn expressions_as_in_jinja() {
    let data: Json =
        serde_json::from_str(&std::fs::read_to_string(folder().join("expressions.json")).unwrap()).unwrap();
    let options =
        ChatOptions { vars: data["variables"].as_object().unwrap().clone(), ..ChatOptions::default() };
    let mut wrong = Vec::new();
    for case in data["cases"].as_array().unwrap() {
        let source = case["source"].as_str().unwrap();
        let got = template(source).render(&[], &options, None);
        match (&case["text"], got) {
            (Json::String(want), Ok(got)) if got.text == *want => {}
            (Json::Null, Err(error)) => assert_eq!(error.kind, ErrorKind::Template),
            (want, got) => {
                let got = got.map(|r| r.text).map_err(|e| e.detail);
                wrong.push(format!("{source}\n  Jinja: {want} {}\n  here:  {got:?}", case["error"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
