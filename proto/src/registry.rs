//! Credentials without their secrets: logs are read by others.

use std::fmt;

use crate::v1::RegistryCredentials;

impl fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username, password, identity_token, registry_token } = self;
        let hidden = |secret: &str| if secret.is_empty() { "" } else { ".." };
        f.debug_struct("RegistryCredentials")
            .field("username", username)
            .field("password", &hidden(password))
            .field("identity_token", &hidden(identity_token))
            .field("registry_token", &hidden(registry_token))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::v1::{PullImageRequest, RegistryCredentials};

    #[test]
    fn a_request_is_shown_without_the_secrets_in_it() {
        let credentials = RegistryCredentials {
            username: "someone".into(),
            password: "hunter2".into(),
            identity_token: "hunter3".into(),
            registry_token: "hunter4".into(),
        };
        let request = PullImageRequest { credentials: Some(credentials), ..Default::default() };
        let text = format!("{request:?} {request:#?}");
        assert!(text.contains("someone") && !text.contains("hunter"), "{text}");
    }
}
