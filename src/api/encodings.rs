//! How a caller lets answers be coded (RFC 9110, section 12.5.3).

use axum::http::{HeaderMap, HeaderValue, header};

/// What `Accept-Encoding` says. Read before the request is given away.
#[derive(Debug)]
pub(super) struct Encodings(Vec<HeaderValue>);

/// How an answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    AsItIs,
    Gzip,
}

/// Qualities in thousandths.
#[derive(Debug, Default)]
struct Qualities {
    gzip: Option<u16>,
    as_it_is: Option<u16>,
    others: Option<u16>,
}

impl Encodings {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(headers.get_all(header::ACCEPT_ENCODING).iter().cloned().collect())
    }

    /// Whether a coding is refused, which takes a quality of 0: it may be that of answers as they are.
    pub(super) fn may_refuse(&self) -> bool {
        self.0.iter().any(|value| value.as_bytes().contains(&b'0'))
    }

    /// The one that the caller likes best, gzip where both are liked as much; none where both are refused.
    pub(super) fn best(&self) -> Option<Encoding> {
        let Qualities { gzip, as_it_is, others } = self.qualities();
        let gzip = gzip.or(others).unwrap_or(0);
        // A form that no member names is acceptable, and liked least.
        let as_it_is = as_it_is.or(others);
        if gzip > 0 && gzip >= as_it_is.unwrap_or(0) {
            return Some(Encoding::Gzip);
        }
        (as_it_is != Some(0)).then_some(Encoding::AsItIs)
    }

    fn qualities(&self) -> Qualities {
        let mut found = Qualities::default();
        let members = self.0.iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
        for member in members {
            let (coding, quality) = member.split_once(';').unwrap_or((member, "q=1"));
            let Some(quality) = thousandths(quality.trim()) else { continue };
            match coding.trim() {
                "*" => found.others = Some(quality),
                coding if coding.eq_ignore_ascii_case("identity") => found.as_it_is = Some(quality),
                coding if ["gzip", "x-gzip"].iter().any(|name| coding.eq_ignore_ascii_case(name)) => {
                    found.gzip = Some(quality);
                }
                _ => {}
            }
        }
        found
    }
}

/// `q=0.5`: at most three decimals, and at most 1.
fn thousandths(quality: &str) -> Option<u16> {
    let number = quality.strip_prefix("q=").or_else(|| quality.strip_prefix("Q="))?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let digits = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let whole = match whole {
        "0" => 0,
        "1" => 1000,
        _ => return None,
    };
    let part: u16 = format!("{decimals:0<3}").parse().ok().filter(|_| digits)?;
    Some(whole + part).filter(|quality| *quality <= 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_both_codings_is_chosen() {
        use Encoding::{AsItIs, Gzip};
        for (header, expected) in [
            (None, Some(AsItIs)),
            (Some(""), Some(AsItIs)),
            (Some("gzip"), Some(Gzip)),
            (Some("GZIP"), Some(Gzip)),
            (Some("x-gzip"), Some(Gzip)),
            (Some("deflate, gzip;q=1.0, *;q=0.5"), Some(Gzip)),
            (Some("br, gzip;q=0.5"), Some(Gzip)),
            (Some("gzip;q=0.5, identity"), Some(AsItIs)),
            (Some("gzip, identity"), Some(Gzip)),
            (Some("identity"), Some(AsItIs)),
            (Some("br"), Some(AsItIs)),
            (Some("gzip;q=0"), Some(AsItIs)),
            (Some("gzip;q=0.0005"), Some(AsItIs)),
            (Some("gzip;q=nan"), Some(AsItIs)),
            (Some("*"), Some(Gzip)),
            (Some("*;q=0, gzip"), Some(Gzip)),
            (Some("*;q=0, identity;q=0.1"), Some(AsItIs)),
            (Some("identity;q=0, gzip;q=0.001"), Some(Gzip)),
            (Some("identity;q=0"), None),
            (Some("*;q=0"), None),
            (Some("gzip;q=0, identity;q=0"), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(header.map(|text| (header::ACCEPT_ENCODING, HeaderValue::from_static(text))));
            assert_eq!(Encodings::of(&headers).best(), expected, "{header:?}");
        }
    }
}
