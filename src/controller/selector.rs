//! Label selectors as Kubernetes reads them. kube-apiserver refuses others at each list, so that nothing would be served.

use super::names::{MAX_LABEL, is_enclosed, is_subdomain};

/// A part of a selector: a name, a value or an operator, or a sign.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Sign(&'a str),
}

/// The parts of a selector. Signs are as long as they can be.
fn tokens(text: &str) -> Vec<Token<'_>> {
    const SIGNS: [&str; 9] = ["==", "!=", "=", "!", "<", ">", "(", ")", ","];
    const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start_matches(SPACES));
    while !rest.is_empty() {
        let token = match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => Token::Sign(sign),
            None => {
                let is_end = |it: char| "=!<>(),".contains(it) || SPACES.contains(&it);
                Token::Word(&rest[..rest.find(is_end).unwrap_or(rest.len())])
            }
        };
        let (Token::Word(read) | Token::Sign(read)) = token;
        rest = rest[read.len()..].trim_start_matches(SPACES);
        tokens.push(token);
    }
    tokens
}

/// Checks that kube-apiserver accepts a label selector.
///
/// # Errors
/// What it does not accept.
pub fn check(text: &str) -> Result<(), String> {
    let tokens = tokens(text);
    if tokens.is_empty() {
        return Ok(());
    }
    let mut rest = &tokens[..];
    loop {
        rest = requirement(rest)?;
        match rest {
            [] => return Ok(()),
            [Token::Sign(","), more @ ..] if !more.is_empty() => rest = more,
            [Token::Sign(","), ..] => return Err("it ends with a comma".into()),
            [Token::Word(text) | Token::Sign(text), ..] => return Err(format!("{text:?} is unexpected")),
        }
    }
}

/// Reads one requirement. The tokens after it.
fn requirement<'t, 'a>(tokens: &'t [Token<'a>]) -> Result<&'t [Token<'a>], String> {
    match tokens {
        [Token::Sign("!"), Token::Word(name), rest @ ..] => check_name(name).map(|()| rest),
        [Token::Word(name), rest @ ..] => {
            check_name(name)?;
            match rest {
                [] | [Token::Sign(","), ..] => Ok(rest),
                [Token::Sign("=" | "==" | "!="), rest @ ..] => match rest {
                    [] | [Token::Sign(","), ..] => Ok(rest),
                    [Token::Word(value), rest @ ..] => check_value(value).map(|()| rest),
                    [Token::Sign(sign), ..] => Err(format!("{sign:?} is no value")),
                },
                [Token::Sign("<" | ">"), Token::Word(value), rest @ ..] => {
                    value.parse::<i64>().map_err(|_| format!("{value:?} is no whole number"))?;
                    check_value(value).map(|()| rest)
                }
                [Token::Word("in" | "notin"), Token::Sign("("), rest @ ..] => values(rest),
                [Token::Word(text) | Token::Sign(text), ..] => {
                    Err(format!("{text:?} after {name:?} is no operator with a value"))
                }
            }
        }
        [Token::Sign(sign), ..] => Err(format!("{sign:?} is no name of a label")),
        [] => Err("it ends where a name of a label has to be".into()),
    }
}

/// Reads the values of a set, of which some may be empty, up to the end of its parentheses. The tokens after it.
fn values<'t, 'a>(mut tokens: &'t [Token<'a>]) -> Result<&'t [Token<'a>], String> {
    loop {
        if let [Token::Word(value), rest @ ..] = tokens {
            check_value(value)?;
            tokens = rest;
        }
        match tokens {
            [Token::Sign(")"), rest @ ..] => return Ok(rest),
            [Token::Sign(","), rest @ ..] => tokens = rest,
            [Token::Word(text) | Token::Sign(text), ..] => return Err(format!("{text:?} in a set")),
            [] => return Err("a set without an end".into()),
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let (prefix, bare) = match name.split_once('/') {
        Some((prefix, bare)) => (Some(prefix), bare),
        None => (None, name),
    };
    let is_valid = prefix.is_none_or(is_subdomain) && bare.len() <= MAX_LABEL && is_text(bare);
    if is_valid { Ok(()) } else { Err(format!("{name:?} is no name of a label")) }
}

fn check_value(value: &str) -> Result<(), String> {
    let is_valid = value.len() <= MAX_LABEL && is_text(value);
    if is_valid { Ok(()) } else { Err(format!("{value:?} is no value of a label")) }
}

fn is_text(text: &str) -> bool {
    is_enclosed(text, |it| it.is_ascii_alphanumeric(), |it| matches!(it, '-' | '_' | '.'))
}
