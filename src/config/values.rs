//! How values are written in files and variables, and what is said about those that cannot be read.
//!
//! The words are our own: those of the libraries quote the value, which may be a secret, or name our types.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{AuthMode, CacheMode, HistoryMode, LogFormat, OtlpProtocol, Role};

fn read<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D, expected: &str) -> Result<T, D::Error> {
    T::deserialize(deserializer).map_err(|_| D::Error::custom(format_args!("expected {expected}")))
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    read(deserializer, "an address and a port like \"127.0.0.1:8080\"")
}

pub(super) fn auth_mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AuthMode, D::Error> {
    read(deserializer, "\"required\" or \"off\"")
}

pub(super) fn cache_mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CacheMode, D::Error> {
    read(deserializer, "\"off\", \"memory\", \"redis\" or \"tiered\"")
}

pub(super) fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
    read(deserializer, "\"all\" or \"api\"")
}

pub(super) fn history_mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HistoryMode, D::Error> {
    read(deserializer, "\"off\", \"sqlite\" or \"postgres\"")
}

pub(super) fn log_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogFormat, D::Error> {
    read(deserializer, "\"json\", \"pretty\" or \"auto\"")
}

pub(super) fn otlp_protocol<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OtlpProtocol, D::Error> {
    read(deserializer, "\"grpc\" or \"http\"")
}

/// A list, or one string with commas as an environment variable has it.
pub(super) fn list<'de, D: Deserializer<'de>, T: From<String>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        List(Vec<String>),
        Text(String),
    }
    let items = match read(deserializer, "a list of strings")? {
        Form::List(items) => items,
        Form::Text(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
    };
    Ok(items.into_iter().filter(|item| !item.is_empty()).map(T::from).collect())
}

/// An address and a port, or an empty string for none.
pub(super) mod optional_address {
    use std::net::SocketAddr;

    use super::{Deserialize, Deserializer, Error};

    pub(in crate::config) use super::optional::serialize;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        let expected = "expected an address and a port like \"127.0.0.1:9090\", or \"\" for none";
        let text = String::deserialize(deserializer).map_err(|_| D::Error::custom(expected))?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| D::Error::custom(expected))
    }
}

/// A list of addresses and networks.
pub(super) mod networks {
    use std::net::IpAddr;

    use ipnet::IpNet;

    use super::{Deserializer, Error, Serializer};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
        let network = |text: String| {
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| D::Error::custom("expected networks like \"10.0.0.0/8\" or addresses"))
        };
        super::list::<_, String>(deserializer)?.into_iter().map(network).collect()
    }

    pub(in crate::config) fn serialize<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(networks)
    }
}

/// A URL that may hold a password, which is never shown.
pub(super) mod secret_url {
    use super::{Deserializer, Serializer, read};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        read(deserializer, "a URL like \"redis://127.0.0.1:6379\" or \"postgres://127.0.0.1/database\"")
    }

    pub(in crate::config) fn serialize<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&redacted(url))
    }

    /// Everything between the scheme and the host, should there be any, and a password in the query.
    fn redacted(url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
        let host = rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, host)| format!("***@{host}"));
        format!("{scheme}://{host}{query}")
    }
}

/// `250ms`, `10s`, `2m`.
pub(super) mod duration {
    use std::time::Duration;

    use super::{Deserializer, Error};

    pub(in crate::config) use humantime_serde::serialize;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let expected = |_| D::Error::custom("expected a duration like \"250ms\" or \"30s\"");
        humantime_serde::deserialize(deserializer).map_err(expected)
    }
}

/// `30d`, or an empty string for none.
pub(super) mod optional_duration {
    use std::time::Duration;

    use super::{Deserialize, Deserializer, Error, Serializer};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let expected = "expected a duration like \"30d\", or \"\" for none";
        let text = String::deserialize(deserializer).map_err(|_| D::Error::custom(expected))?;
        if text.is_empty() {
            return Ok(None);
        }
        humantime::parse_duration(&text).map(Some).map_err(|_| D::Error::custom(expected))
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.collect_str(&humantime::format_duration(*duration)),
            None => serializer.serialize_str(""),
        }
    }
}

/// `64KiB`, `8MiB`, or a number of bytes.
pub(super) mod size {
    use bytesize::ByteSize;

    use super::{Deserializer, Serializer, read};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
        read(deserializer, "a size like \"64KiB\" or \"8MiB\"")
    }

    /// Exact, so that what is shown is what counts.
    pub(in crate::config) fn serialize<S: Serializer>(size: &ByteSize, serializer: S) -> Result<S::Ok, S::Error> {
        let units: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        let bytes = size.as_u64();
        let whole = units.into_iter().find(|(_, factor)| bytes.is_multiple_of(*factor));
        let (unit, factor) = whole.unwrap_or(("", 1));
        serializer.collect_str(&format_args!("{}{unit}", bytes / factor))
    }
}

/// An empty string is "not set": a TOML file and an environment variable can both say it.
pub(super) mod optional {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::config) fn deserialize<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: From<String>,
    {
        let text = String::deserialize(deserializer)?;
        Ok(Some(text).filter(|text| !text.is_empty()).map(T::from))
    }

    pub(in crate::config) fn serialize<S: Serializer, T: Serialize>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }
}
