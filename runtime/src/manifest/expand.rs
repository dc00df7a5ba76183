//! Replaces `${VAR}` in a string by the environment's value.

/// A string whose variables could not be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ExpandError {
    /// `${` without its `}`, or with nothing in between.
    Malformed,
    /// The environment has no such variable.
    Unset(String),
}

/// Replaces each `${VAR}`; `$${` stands for the characters `${`, and any other `$` for itself.
pub(super) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, variable) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = variable;
            continue;
        }
        out.push_str(before);
        let Some((name, after)) = variable.split_once('}') else {
            return Err(ExpandError::Malformed);
        };
        // The system's own functions panic on a name with `=` or NUL, so those never get there.
        if name.is_empty() || name.contains(['=', '\0', '$', '{']) {
            return Err(ExpandError::Malformed);
        }
        // A value is taken as it is: what looks like a variable inside it is not replaced again.
        out.push_str(&env(name).ok_or_else(|| ExpandError::Unset(name.to_owned()))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_once() {
        let env = |name: &str| match name {
            "USER" => Some("ada".to_owned()),
            "TRICK" => Some("${USER}".to_owned()),
            _ => None,
        };
        let check = |text: &str, expect: Result<&str, ExpandError>| {
            assert_eq!(expand(text, &env), expect.map(str::to_owned), "`{text}`");
        };
        check("plain $5 {x} $", Ok("plain $5 {x} $"));
        check("hi ${USER}, ${USER}!", Ok("hi ada, ada!"));
        check("${TRICK}", Ok("${USER}"));
        check("$${USER} costs $$5", Ok("${USER} costs $$5"));
        check("${NONE}", Err(ExpandError::Unset("NONE".to_owned())));
        check("${USER", Err(ExpandError::Malformed));
        check("${}", Err(ExpandError::Malformed));
        check("${A=B}", Err(ExpandError::Malformed));
    }
}
