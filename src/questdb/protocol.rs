//! Which version of the line protocol the server speaks, out of what it answers at `/settings` (pure).

use questdb::ingress::ProtocolVersion;
use serde_json::Value;

use super::http::Reply;

/// Why it is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoVersion {
    /// What answers is not QuestDB.
    Strange(&'static str),
    /// It speaks other versions only.
    Unknown,
}

/// The newest version that both sides speak.
///
/// Versions of QuestDB before the second version of the protocol say nothing of it, and tell their own; before that there was no such page.
pub fn version(reply: &Reply) -> Result<ProtocolVersion, NoVersion> {
    if reply.status == 404 {
        return Ok(ProtocolVersion::V1);
    }
    let Ok(Value::Object(settings)) = serde_json::from_slice(&reply.body) else {
        return Err(NoVersion::Strange("what it answers at /settings is no JSON object"));
    };
    let config = settings.get("config");
    if let Some(versions) = config.and_then(|config| config.get("line.proto.support.versions")?.as_array()) {
        let has = |number: u64| versions.iter().any(|version| version.as_u64() == Some(number));
        let known = [(3, ProtocolVersion::V3), (2, ProtocolVersion::V2), (1, ProtocolVersion::V1)];
        return known
            .into_iter()
            .find_map(|(number, version)| has(number).then_some(version))
            .ok_or(NoVersion::Unknown);
    }
    let release = config.and_then(|config| config.get("release.version")).or_else(|| settings.get("release.version"));
    match release {
        Some(Value::String(_)) => Ok(ProtocolVersion::V1),
        _ => Err(NoVersion::Strange("what it answers at /settings has no release.version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Result<ProtocolVersion, NoVersion> {
        version(&Reply { status, body: body.into() })
    }

    #[test]
    fn the_newest_that_both_speak_is_taken() {
        let versions = |list: &str| of(200, &format!(r#"{{"config":{{"line.proto.support.versions":[{list}]}}}}"#));
        assert_eq!(versions("1,2,3"), Ok(ProtocolVersion::V3));
        assert_eq!(versions("2,1,9"), Ok(ProtocolVersion::V2));
        assert_eq!(versions("9"), Err(NoVersion::Unknown));
        assert_eq!(versions(""), Err(NoVersion::Unknown));
        assert_eq!(of(200, r#"{"release.type":"OSS","release.version":"8.1"}"#), Ok(ProtocolVersion::V1));
        assert_eq!(of(200, r#"{"config":{"release.version":"8.3.1"}}"#), Ok(ProtocolVersion::V1));
        assert_eq!(of(404, "Not found"), Ok(ProtocolVersion::V1));
    }

    #[test]
    fn what_is_not_questdb_has_no_version() {
        for body in ["{}", "[]", "null", "", "<html></html>", r#"{"config":null}"#, r#"{"release.version":7}"#] {
            assert!(matches!(of(200, body), Err(NoVersion::Strange(_))), "{body}");
        }
    }
}
