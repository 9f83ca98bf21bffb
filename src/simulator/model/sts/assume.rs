//! AssumeRole and AssumeRoleWithOIDC. The order in which the cloud checks a request is not documented.

use super::super::failure::Failure;
use super::claims::Claims;
use super::issued::Issued;
use super::rules::parts_of_role;
use super::service::Sts;

/// Minimum session duration, s.
const MIN_SESSION_SECONDS: i64 = 900;
/// Default session duration, s.
const DEFAULT_SESSION_SECONDS: i64 = 3600;

/// The caller of AssumeRole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The account itself.
    Root,
    /// A permanent key, by id.
    Key(String),
    /// A role, by ARN: the token service issued the key for it.
    Role(String),
}

/// Parameters of AssumeRole without Policy: the model has no policies to restrict.
#[derive(Debug, Clone, Default)]
pub struct AssumeRoleInput {
    pub role_arn: Option<String>,
    /// RoleSessionName.
    pub session: Option<String>,
    /// DurationSeconds.
    pub duration: Option<i64>,
    pub external_id: Option<String>,
}

/// Parameters of AssumeRoleWithOIDC. No `Debug`, because it would show the token.
#[derive(Clone, Default)]
pub struct OidcInput {
    pub role_arn: Option<String>,
    /// OIDCProviderArn.
    pub provider_arn: Option<String>,
    /// OIDCToken.
    pub token: Option<String>,
    /// RoleSessionName.
    pub session: Option<String>,
    /// DurationSeconds.
    pub duration: Option<i64>,
}

impl Sts {
    pub fn assume_role(&mut self, caller: &Caller, input: &AssumeRoleInput, now: i64) -> Result<Issued, Failure> {
        let (arn, session, seconds) = checked(input.role_arn.as_ref(), input.session.as_ref(), input.duration)?;
        let caller = match caller {
            Caller::Root => return Err(Failure::root_assumes_no_role()),
            Caller::Key(name) | Caller::Role(name) => name,
        };
        let role = self.role(arn)?;
        let external = role.external_id.is_none() || role.external_id == input.external_id;
        if !role.trusts_caller(caller) || !external {
            return Err(Failure::sts_no_permission());
        }
        check_max_session(seconds, role.max_session_seconds)?;
        Ok(self.issue(arn, session, seconds, now))
    }

    /// AssumeRoleWithOIDC. Checks the token before the role (inferred).
    pub fn assume_role_with_oidc(&mut self, input: &OidcInput, now: i64) -> Result<(Issued, Claims), Failure> {
        let provider_arn = present("OIDCProviderArn", input.provider_arn.as_ref())?;
        let token = present("OIDCToken", input.token.as_ref())?;
        let (arn, session, seconds) = checked(input.role_arn.as_ref(), input.session.as_ref(), input.duration)?;
        if !(4..=20_000).contains(&token.chars().count()) {
            return Err(Failure::invalid_sts("OIDCToken", "it must be 4 to 20000 characters long"));
        }
        let provider = self.rules.providers.iter().find(|provider| provider.arn == *provider_arn);
        let provider = provider.ok_or_else(|| Failure::provider_not_found(provider_arn))?;
        let invalid = || Failure::oidc_token("Invalid", "The OIDC token is invalid.");
        let claims = Claims::read(token).ok_or_else(invalid)?;
        // The code for another issuer is not documented (inferred).
        if provider.issuer.as_ref().is_some_and(|issuer| *issuer != claims.issuer) {
            return Err(invalid());
        }
        if claims.expires_at.saturating_mul(1000) <= now {
            return Err(Failure::oidc_token("Expired", "The OIDC token is expired."));
        }
        if !claims.audience.iter().any(|audience| provider.client_ids.contains(audience)) {
            let message = "The audience in the OIDC token does not match the client IDs of the OIDC provider.";
            return Err(Failure::oidc_token("AudienceNotMatch", message));
        }
        let role = self.role(arn)?;
        if !role.trusts_subject(provider_arn, &claims.subject) {
            return Err(Failure::oidc_no_permission());
        }
        check_max_session(seconds, role.max_session_seconds)?;
        Ok((self.issue(arn, session, seconds, now), claims))
    }
}

fn present<'a>(name: &str, field: Option<&'a String>) -> Result<&'a String, Failure> {
    field.filter(|text| !text.is_empty()).ok_or_else(|| Failure::missing(name))
}

/// Checks the parameters of both actions: role ARN, session name and session duration in seconds.
fn checked<'a>(
    arn: Option<&'a String>,
    session: Option<&'a String>,
    duration: Option<i64>,
) -> Result<(&'a str, &'a str, i64), Failure> {
    let (arn, session) = (present("RoleArn", arn)?, present("RoleSessionName", session)?);
    if parts_of_role(arn).is_none() {
        return Err(Failure::invalid_sts("RoleArn", "it must be acs:ram::<account>:role/<name>"));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || ".@_-".contains(c);
    if !(2..=64).contains(&session.len()) || !session.chars().all(good) {
        let why = "it must be 2 to 64 letters, digits and characters of .@_-";
        return Err(Failure::invalid_sts("RoleSessionName", why));
    }
    let seconds = duration.unwrap_or(DEFAULT_SESSION_SECONDS);
    if seconds < MIN_SESSION_SECONDS {
        return Err(Failure::invalid_sts("DurationSeconds", "900 is the least"));
    }
    Ok((arn, session, seconds))
}

/// Refuses a session longer than the role's maximum, also when the request has the default duration (inferred).
fn check_max_session(seconds: i64, max: u32) -> Result<(), Failure> {
    if seconds > i64::from(max) {
        return Err(Failure::invalid_sts("DurationSeconds", "it is longer than the role's MaxSessionDuration"));
    }
    Ok(())
}
