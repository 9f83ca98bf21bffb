//! Texts and times as the API has them.

/// A time in the format of plans and items: `YYYY-MM-DD HH:mm:ss`. The zone is not documented; UTC is inferred.
pub(super) fn wall_time(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at)
        .map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_else(|_| "1970-01-01 00:00:00".to_owned())
}

/// The text of an optional field; an empty one counts as absent.
pub(super) fn given(field: Option<&String>) -> Option<&str> {
    field.map(String::as_str).filter(|text| !text.is_empty())
}
