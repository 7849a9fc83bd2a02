//! Czech and English: which one somebody wants, and the texts, which are in `i18n/`.

use axum::http::{HeaderMap, header};
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use std::sync::LazyLock;
use unic_langid::langid;

/// What the pages are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Czech,
    English,
}

impl Language {
    /// RFC 9110 §12.5.4: the one with the highest weight, of two with the same the first. English if it is neither,
    /// because that is what somebody with neither more probably reads.
    pub(crate) fn wanted(headers: &HeaderMap) -> Language {
        let ranges = headers
            .get_all(header::ACCEPT_LANGUAGE)
            .iter()
            .filter_map(|field| field.to_str().ok())
            .flat_map(|field| field.split(','));
        let mut best: Option<(u16, Language)> = None;
        for range in ranges {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let Some(language) = Language::of_tag(tag.trim()) else {
                continue;
            };
            let weight = weight(parameters);
            if weight > best.map_or(0, |(best, _)| best) {
                best = Some((weight, language));
            }
        }
        best.map_or(Language::English, |(_, language)| language)
    }

    /// Slovak readers read Czech with less effort than English.
    fn of_tag(tag: &str) -> Option<Language> {
        let primary = tag.split('-').next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("cs") || primary.eq_ignore_ascii_case("sk") {
            Some(Language::Czech)
        } else if primary.eq_ignore_ascii_case("en") {
            Some(Language::English)
        } else {
            None
        }
    }
}

/// `q=0.7` in thousandths; 1 when it is not said. What cannot be read is worth nothing.
fn weight(parameters: &str) -> u16 {
    let Some(text) = parameters
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("q="))
    else {
        return 1000;
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|octet| octet.is_ascii_digit()) {
        return 0;
    }
    let thousandths = format!("{fraction:0<3}").parse().unwrap_or(0);
    match whole {
        "0" => thousandths,
        "1" => 1000,
        _ => 0,
    }
}

/// The texts of one language.
pub(crate) struct Texts {
    language: Language,
    bundle: FluentBundle<FluentResource>,
}

static CZECH: LazyLock<Texts> = LazyLock::new(|| Texts::new(Language::Czech, include_str!("../i18n/cs.ftl")));
static ENGLISH: LazyLock<Texts> =
    LazyLock::new(|| Texts::new(Language::English, include_str!("../i18n/en.ftl")));

impl Texts {
    /// The texts in `language`.
    pub(crate) fn of(language: Language) -> &'static Texts {
        match language {
            Language::Czech => &CZECH,
            Language::English => &ENGLISH,
        }
    }

    fn new(language: Language, source: &str) -> Texts {
        let resource = FluentResource::try_new(source.to_owned());
        // The tests look that there is no mistake in them; a page with a gap is better than no page.
        let resource = resource.unwrap_or_else(|(resource, _)| resource);
        let locale = match language {
            Language::Czech => langid!("cs"),
            Language::English => langid!("en"),
        };
        let mut bundle = FluentBundle::new_concurrent(vec![locale]);
        // Marks around what is put in are for texts of mixed directions, which neither language has.
        bundle.set_use_isolating(false);
        let _ = bundle.add_resource(resource);
        Texts { language, bundle }
    }

    /// RFC 5646, for `lang`.
    pub(crate) fn tag(&self) -> &'static str {
        match self.language {
            Language::Czech => "cs",
            Language::English => "en",
        }
    }

    /// The text of this name.
    pub(crate) fn get(&self, name: &str) -> String {
        self.format(name, None)
    }

    /// The text of this name, with a number put in for `$n`.
    pub(crate) fn with(&self, name: &str, n: u64) -> String {
        let mut arguments = FluentArgs::new();
        arguments.set("n", FluentValue::from(n));
        self.format(name, Some(&arguments))
    }

    /// The text of this name, with words put in for `$text`.
    pub(crate) fn with_text(&self, name: &str, text: &str) -> String {
        let mut arguments = FluentArgs::new();
        arguments.set("text", FluentValue::from(text.to_owned()));
        self.format(name, Some(&arguments))
    }

    fn format(&self, name: &str, arguments: Option<&FluentArgs<'_>>) -> String {
        let pattern = self.bundle.get_message(name).and_then(|message| message.value());
        let Some(pattern) = pattern else {
            tracing::error!(name, "a text is missing");
            return name.to_owned();
        };
        let mut errors = Vec::new();
        self.bundle
            .format_pattern(pattern, arguments, &mut errors)
            .into_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn check(field: &str, expected: Language) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_str(field).unwrap());
        assert_eq!(Language::wanted(&headers), expected, "{field}");
    }

    #[test]
    fn the_language_with_the_highest_weight_is_taken() {
        check("cs", Language::Czech);
        check("cs-CZ,cs;q=0.9,en;q=0.8", Language::Czech);
        check("en-US,en;q=0.9,cs;q=0.8", Language::English);
        check("de, en;q=0.2, cs;q=0.75", Language::Czech);
        check("sk,de", Language::Czech);
        check("cs;q=0", Language::English);
        check("cs;q=0, en;q=0.001", Language::English);
        check("fr, *", Language::English);
        check("cs;q=7, en;q=0.1", Language::English);
        check("cs;q=0.99999, en;q=0.1", Language::English);
        check(",;,;q=;=,cs;q=", Language::English);
        assert_eq!(Language::wanted(&HeaderMap::new()), Language::English);
    }

    /// The names of all texts of a language, and that its file has no mistake.
    fn names(source: &str) -> BTreeSet<String> {
        let resource = FluentResource::try_new(source.to_owned());
        assert!(resource.is_ok(), "{:?}", resource.err().map(|(_, errors)| errors));
        let lines = source
            .lines()
            .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
        lines
            .filter_map(|line| Some(line.split_once(" =")?.0.to_owned()))
            .collect()
    }

    #[test]
    fn both_languages_have_the_same_texts_and_every_name_that_is_used() {
        let czech = names(include_str!("../i18n/cs.ftl"));
        let english = names(include_str!("../i18n/en.ftl"));
        assert_eq!(czech, english);
        let mut used = BTreeSet::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for template in std::fs::read_dir(root.join("templates")).unwrap() {
            let text = std::fs::read_to_string(template.unwrap().path()).unwrap();
            for call in ["t.get(\"", "t.with(\""] {
                let calls = text.split(call).skip(1);
                used.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
        assert!(used.len() > 10, "the templates were not found");
        let missing: Vec<_> = used.difference(&czech).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn numbers_have_the_forms_of_their_language() {
        let tries = |language, n| Texts::of(language).with("tries-left", n);
        assert_ne!(tries(Language::Czech, 1), tries(Language::Czech, 2));
        assert!(
            tries(Language::Czech, 1).contains("jeden"),
            "{}",
            tries(Language::Czech, 1)
        );
        assert!(
            tries(Language::Czech, 2).contains("2 pokusy"),
            "{}",
            tries(Language::Czech, 2)
        );
        assert!(
            tries(Language::English, 1).contains("one"),
            "{}",
            tries(Language::English, 1)
        );
    }
}
