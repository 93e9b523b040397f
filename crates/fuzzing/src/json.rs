//! Lines as `serde_json` reads them.

use std::fmt;

use serde_json::Deserializer;
use serde_json::value::RawValue;

use crate::rows::Field;

/// A line that is not blank.
pub(crate) enum Line {
    /// An object: its members in their order.
    Object(Vec<(String, Token)>),
    /// Anything else.
    Other,
}

/// A value as it stands.
pub(crate) struct Token(Box<RawValue>);

impl Token {
    /// Whether it is a value: the escapes of a text may mean nothing.
    pub(crate) fn is_sound(&self) -> bool {
        !self.0.get().starts_with('"') || serde_json::from_str::<String>(self.0.get()).is_ok()
    }

    /// As a field of a trade.
    fn field(&self) -> Field {
        let token = self.0.get();
        match token.as_bytes()[0] {
            b'n' => Field::None,
            b'"' => Field::Text(serde_json::from_str(token).unwrap_or_default()),
            _ => Field::Json(token.to_owned()),
        }
    }
}

impl Line {
    fn of(line: &[u8]) -> Self {
        let members = std::str::from_utf8(line).ok().and_then(|line| {
            let mut json = Deserializer::from_str(line);
            let members = serde::Deserializer::deserialize_map(&mut json, Members).ok()?;
            json.end().ok().map(|()| members)
        });
        members.filter(|_| depth(line) <= DEPTH_MAX).map_or(Self::Other, Self::Object)
    }

    /// The fields of these columns; `None` if a member is none of them, or stands twice.
    pub(crate) fn fields(&self, columns: &[&str]) -> Option<Vec<Field>> {
        let Self::Object(members) = self else { return None };
        let mut fields = vec![None; columns.len()];
        for (name, token) in members {
            let field = &mut fields[columns.iter().position(|column| column == name)?];
            if field.replace(token.field()).is_some() {
                return None;
            }
        }
        Some(fields.into_iter().map(|field| field.unwrap_or(Field::None)).collect())
    }
}

/// How deep objects and lists may lie in each other.
const DEPTH_MAX: usize = 128;

/// How deep they do.
fn depth(line: &[u8]) -> usize {
    let (mut depth, mut most, mut in_text, mut is_escaped) = (0_usize, 0, false, false);
    for &byte in line {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_text,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// All lines that are not blank, but for a mark in front. White space at the end is none
/// of the object's.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    bytes
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii_end)
        .filter(|line| !line.is_empty())
        .map(Line::of)
}

struct Members;

impl<'de> serde::de::Visitor<'de> for Members {
    type Value = Vec<(String, Token)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry()? {
            members.push((name, Token(value)));
        }
        Ok(members)
    }
}
