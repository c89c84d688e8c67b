//! Looks into PromQL, as far as the rules and dashboards use it.

use std::collections::BTreeSet;

/// Words that are followed by a list of labels.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

const WORDS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// The names of all series that an expression selects.
pub fn names(expression: &str) -> BTreeSet<String> {
    let text = outside(expression);
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut names = BTreeSet::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find(is_part) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        let opens = after.trim_start().starts_with('(');
        if LISTS.contains(&word) && opens {
            rest = &after[after.find(')').unwrap()..];
        }
        // `sum by (…) (…)` and `sum(…)`: no function is a name.
        let next_word = after.trim_start().split(|c| !is_part(c)).next().unwrap();
        let is_function = opens || ["by", "without"].contains(&next_word);
        if !is_function
            && !word.starts_with(|c: char| c.is_ascii_digit())
            && ![&LISTS[..], &WORDS].concat().contains(&word)
        {
            names.insert(word.to_owned());
        }
    }
    names
}

/// The expression without its labels, ranges and strings.
fn outside(expression: &str) -> String {
    let mut text = String::new();
    let (mut depth, mut quote) = (0, None);
    for c in expression.chars() {
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') => depth -= 1,
            (None, c) if depth == 0 => text.push(c),
            _ => {}
        }
    }
    text
}

/// An alert's expression without the bounds that make it fire: what it looks at, at all times.
pub fn without_bounds(expression: &str) -> String {
    let mut text = String::new();
    let mut depth = 0;
    let mut rest = expression.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            '<' | '>' | '=' | '!' if depth == 0 => {
                while rest.next_if(|c| "<>=! .*".contains(*c) || c.is_ascii_digit()).is_some() {}
                text.push(' ');
                continue;
            }
            _ => {}
        }
        text.push(c);
    }
    text
}

#[test]
fn names_and_bounds_are_found() {
    for (expression, expected) in [
        ("up{job=\"a\"} == 0", &["up"][..]),
        (
            "sum by (le, job) (rate(a_bucket{x=~\"b|c\"}[5m])) / on (job) group_left () (glassbox:b:rate5m > 0)",
            &["a_bucket", "glassbox:b:rate5m"],
        ),
        ("1 - sum without (le) (a)", &["a"]),
        ("sum(a) / scalar(sum(b offset 5m)) > 0", &["a", "b"]),
        ("a - time() < 14 * 86400 or topk(3, c)", &["a", "c"]),
    ] {
        assert_eq!(names(expression).iter().map(String::as_str).collect::<Vec<_>>(), expected, "{expression}");
    }
    let stripped = without_bounds("(a{x=\"y\"} > 14.4 and b{z!=\"=\"} >= 1) or c - time() < 14 * 86400");
    assert_eq!(stripped, "(a{x=\"y\"}  and b{z!=\"=\"}  ) or c - time()  ");
}
