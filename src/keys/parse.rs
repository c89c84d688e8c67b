//! Reads the text of a keys file: `[plans.NAME]` tables and `[[keys]]`. Finds all faults, not only the first.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use wildmatch::WildMatch;

use super::{
    Plan, Principal, Scope, Validity,
    faults::{Fault, Faults},
    fields::Fields,
    secret::{SecretHash, is_id},
    set::{Entry, KeySet},
};

/// Each key has a metric and a bucket of its own.
const MOST_KEYS: usize = 10_000;
const MOST_PLANS: usize = 256;
const MOST_GLOBS: usize = 64;
/// Shorter than a key, so that a key in the wrong place is no plan.
const MOST_PLAN_CHARS: usize = 32;

/// The most that a plan can say, as for the configuration's.
const MOST_PER_PLAN: i64 = 1_000_000;

const TIME: &str = "a time with its offset, like \"2030-01-31T00:00:00Z\"";

/// Makes keys and plans of a file's text; `default` is the plan of keys that name none.
///
/// # Errors
/// All faults together, in their order.
pub(super) fn parse(text: &str, default: &Plan) -> Result<KeySet, Vec<Fault>> {
    let mut faults = Faults::of(text);
    // What a writer leaves who truncates first, and then finds the disk full.
    if text.trim().is_empty() {
        faults.note(0, None, "the file is empty");
    }
    let mut set = KeySet::new(default.clone());
    match DeTable::parse(text) {
        Ok(document) => sections(document.get_ref(), &mut set, &mut faults),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            faults.note(at, None, format!("is not valid TOML: {}", error.message().trim_end().replace('\n', ", ")));
        }
    }
    faults.result().map(|()| set)
}

fn sections<'i>(document: &DeTable<'i>, set: &mut KeySet, faults: &mut Faults<'_>) {
    for name in document.keys().filter(|name| !["plans", "keys"].contains(&name.get_ref().as_ref())) {
        faults.note(name.span().start, None, "there is no such section: expected [plans.NAME] and [[keys]]");
    }
    match document.get("plans").map(|value| (value.span().start, value.get_ref())) {
        None => {}
        Some((_, DeValue::Table(plans))) if plans.len() <= MOST_PLANS => {
            for (name, value) in plans {
                if let Some(plan) = plan(name, value, faults) {
                    set.add_plan(plan);
                }
            }
        }
        Some((at, DeValue::Table(_))) => faults.note(at, None, format!("there are more than {MOST_PLANS} plans")),
        Some((at, _)) => faults.note(at, None, "plans are written as [plans.NAME]"),
    }
    match document.get("keys").map(|value| (value.span().start, value.get_ref())) {
        None => {}
        Some((_, DeValue::Array(keys))) if keys.len() <= MOST_KEYS => {
            if keys.is_empty() {
                set.say_none();
            }
            let mut ids = HashSet::new();
            for value in keys {
                if let Some(entry) = key(value, set, &mut ids, faults) {
                    set.add(entry);
                }
            }
        }
        Some((at, DeValue::Array(_))) => faults.note(at, None, format!("there are more than {MOST_KEYS} keys")),
        Some((at, _)) => faults.note(at, None, "keys are written as [[keys]]"),
    }
}

fn plan<'i>(
    name: &Spanned<std::borrow::Cow<'i, str>>,
    value: &Spanned<DeValue<'i>>,
    faults: &mut Faults<'_>,
) -> Option<Plan> {
    let named = Some(name.get_ref().as_ref()).filter(|name| is_plan_name(name)).map(Arc::from);
    if named.is_none() {
        let expected = format!("a plan's name is 1 to {MOST_PLAN_CHARS} of a-z, A-Z, 0-9, '_' and '-'");
        faults.note(name.span().start, None, expected);
    }
    let mut fields = Fields::of(value, faults)?;
    let number = |value: &DeValue<'_>| {
        let integer = value.as_integer()?;
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
        (1..=MOST_PER_PLAN).contains(&number).then(|| u32::try_from(number).ok()).flatten()
    };
    let expected = format!("a whole number from 1 to {MOST_PER_PLAN}");
    let rate = fields.required("rate", &expected, number);
    let burst = fields.required("burst", &expected, number);
    let concurrent = fields.required("concurrent", &expected, number);
    fields.end();
    Some(Plan { name: named?, rate: rate?, burst: burst?, concurrent: concurrent? as usize })
}

fn key<'i>(
    value: &Spanned<DeValue<'i>>,
    set: &KeySet,
    ids: &mut HashSet<Arc<str>>,
    faults: &mut Faults<'_>,
) -> Option<Entry> {
    let mut fields = Fields::of(value, faults)?;
    let id: Option<Arc<str>> =
        fields.required("id", "12 hexadecimal digits in lower case", |value| text(value, is_id).map(Arc::from));
    fields.key = id.as_deref().map(str::to_owned);
    if id.clone().is_some_and(|id| !ids.insert(id)) {
        fields.fault("another key has this id");
    }
    let name = fields.required("name", "1 to 128 characters of one line", |value| text(value, is_name).map(Arc::from));
    let hash =
        fields.required("secret_sha256", "64 hexadecimal digits", |value| SecretHash::parse(text(value, |_| true)?));
    let scopes = fields.required("scopes", "a list of predict, history, metrics and admin", |value| {
        let scopes = list(value, Scope::parse)?;
        (1..=Scope::ALL.len()).contains(&scopes.len()).then_some(scopes)
    });
    let models = fields.optional("models", "a list of at most 64 globs like \"toxicity*\"", |value| {
        let globs = list(value, |glob| is_glob(glob).then(|| WildMatch::new(glob)))?;
        (globs.len() <= MOST_GLOBS).then_some(globs)
    });
    let plan = fields.optional("plan", "the name of a plan of this file, or \"default\"", |value| {
        set.plan(text(value, |_| true)?).cloned()
    });
    let validity = Validity {
        not_before: fields.optional("not_before", TIME, time),
        expires_at: fields.optional("expires_at", TIME, time),
        revoked_at: fields.optional("revoked_at", TIME, time),
    };
    if let (Some(from), Some(to)) = (validity.not_before, validity.expires_at)
        && to <= from
    {
        fields.fault("expires_at is not after not_before");
    }
    fields.end();
    let principal = Principal {
        key_id: id?,
        name: name?,
        scopes: scopes?,
        models: models.unwrap_or_else(|| vec![WildMatch::new("*")]),
        plan: plan.unwrap_or_else(|| Arc::clone(set.default_plan())),
    };
    Some(Entry::new(principal, validity, hash?))
}

fn text<'v>(value: &'v DeValue<'_>, is: impl FnOnce(&str) -> bool) -> Option<&'v str> {
    value.as_str().filter(|text| is(text))
}

fn list<T>(value: &DeValue<'_>, item: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    value.as_array()?.iter().map(|value| item(value.get_ref().as_str()?)).collect()
}

/// A text, or a date and time of TOML's own.
fn time(value: &DeValue<'_>) -> Option<Timestamp> {
    match value {
        DeValue::String(text) => text.parse().ok(),
        DeValue::Datetime(time) => time.to_string().parse().ok(),
        _ => None,
    }
}

fn is_plan_name(name: &str) -> bool {
    (1..=MOST_PLAN_CHARS).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// Whether `glob` is made of what a model's name is made of, `*` and `?`.
pub fn is_glob(glob: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'*' | b'?');
    (1..=128).contains(&glob.len()) && glob.bytes().all(fits)
}
