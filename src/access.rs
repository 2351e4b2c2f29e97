//! Who may read what is served over HTTP. A browser of this machine is also used for other sites,
//! and any of them can make it send requests here.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;

use anyhow::Context as _;

const TOKEN_BYTES: usize = 16;

/// Admits requests that ask for one of our names, that no other site's page makes, and that have
/// the token where other machines can reach the server.
#[derive(Debug, Clone)]
pub struct Access {
    /// Names, beside addresses, that a request may ask for.
    hosts: Vec<String>,
    token: Option<String>,
}

/// The access to one bound address.
#[derive(Debug, Clone)]
pub struct Gate {
    ip: IpAddr,
    access: Access,
}

/// Why a request is refused; the text is the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Host,
    Site,
    Token,
}

impl Refused {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => {
                "depthcast: this is not a name of this machine; if it is, start depthcast with \
                 --allow-host NAME\n"
            }
            Self::Site => "depthcast: pages of other sites may not read this\n",
            Self::Token => {
                "depthcast: the token is missing or wrong; open the whole address that depthcast \
                 printed, or send it as `Authorization: Bearer TOKEN`\n"
            }
        }
    }
}

impl Access {
    /// With `hosts` as further names of this machine, and with a random token unless it is waived.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn new(hosts: Vec<String>, needs_token: bool) -> anyhow::Result<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .context("cannot make a token: /dev/urandom cannot be read")?;
        let token = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { hosts, token: needs_token.then_some(token) })
    }

    /// For a server that is bound to `ip`; one that only this machine reaches needs no token.
    pub fn to(&self, ip: IpAddr) -> Gate {
        let token = self.token.clone().filter(|_| !ip.is_loopback());
        Gate { ip, access: Self { hosts: self.hosts.clone(), token } }
    }
}

impl Gate {
    pub fn token(&self) -> Option<&str> {
        self.access.token.as_deref()
    }

    /// Whether the request comes from where it may, by its headers.
    ///
    /// # Errors
    /// If it asks for a name that is not ours, which another site may let point to this machine, or
    /// if another site's page makes it.
    pub fn check_site<'a>(&self, header: impl Fn(&str) -> Option<&'a str>) -> Result<(), Refused> {
        let host = header("host").filter(|host| self.is_ours(host)).ok_or(Refused::Host)?;
        let is_same = |origin: &str| {
            origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host))
        };
        // A browser names no origin when it is asked for an image or a script, but the kind of site.
        // A link that is followed may be on any.
        let is_foreign = !matches!(header("sec-fetch-site"), None | Some("same-origin" | "none"))
            && header("sec-fetch-mode") != Some("navigate");
        if is_foreign || !header("origin").is_none_or(is_same) {
            return Err(Refused::Site);
        }
        Ok(())
    }

    /// Whether the request has the token, as a header or in the query of `target`. The time that it
    /// takes tells nothing about the token but its length.
    ///
    /// # Errors
    /// If it has not.
    pub fn check_token(&self, authorization: Option<&str>, target: &str) -> Result<(), Refused> {
        let Some(token) = self.token() else { return Ok(()) };
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let in_query = query.split('&').find_map(|pair| pair.strip_prefix("token="));
        let given = authorization.and_then(|value| value.strip_prefix("Bearer ")).or(in_query);
        let given = given.unwrap_or_default();
        let differing = given.bytes().zip(token.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
        if given.len() == token.len() && differing == 0 { Ok(()) } else { Err(Refused::Token) }
    }

    /// `host` is that of a request, with or without a port.
    fn is_ours(&self, host: &str) -> bool {
        let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
        let name = host.rsplit_once(':').filter(|(_, port)| is_port(port));
        let name = name.map_or(host, |(name, _)| name);
        if let Ok(ip) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
            // No other site can have an address as its name.
            return ip.is_loopback() || ip == self.ip || self.ip.is_unspecified();
        }
        let hosts = self.access.hosts.iter().map(String::as_str).chain(["localhost"]);
        hosts.into_iter().any(|host| host.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ip: &str, hosts: &[&str], headers: &[(&str, &str)]) -> Result<(), Refused> {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        let gate = Access::new(hosts, true).unwrap().to(ip.parse().unwrap());
        gate.check_site(|name| headers.iter().find(|header| header.0 == name).map(|h| h.1))
    }

    #[test]
    fn a_name_that_is_not_ours_and_another_sites_page_are_refused() {
        let own = "127.0.0.1:9090";
        for (ip, host, more, expected) in [
            ("127.0.0.1", own, &[][..], Ok(())),
            ("127.0.0.1", "localhost", &[], Ok(())),
            ("127.0.0.1", "LocalHost:80", &[], Ok(())),
            ("::1", "[::1]:9090", &[], Ok(())),
            ("127.0.0.1", "robot.local:9090", &[], Ok(())),
            ("10.0.0.7", "10.0.0.7:9090", &[], Ok(())),
            ("0.0.0.0", "10.0.0.7:9090", &[], Ok(())),
            ("127.0.0.1", "10.0.0.7:9090", &[], Err(Refused::Host)),
            ("127.0.0.1", "evil.example:9090", &[], Err(Refused::Host)),
            ("0.0.0.0", "evil.example", &[], Err(Refused::Host)),
            ("127.0.0.1", "127.0.0.1.evil.example", &[], Err(Refused::Host)),
            ("127.0.0.1", "", &[], Err(Refused::Host)),
            ("127.0.0.1", own, &[("origin", "http://127.0.0.1:9090")], Ok(())),
            ("127.0.0.1", own, &[("origin", "http://127.0.0.1:3000")], Err(Refused::Site)),
            ("127.0.0.1", own, &[("origin", "https://app.rerun.io")], Err(Refused::Site)),
            ("127.0.0.1", own, &[("origin", "null")], Err(Refused::Site)),
            ("127.0.0.1", own, &[("sec-fetch-site", "same-origin")], Ok(())),
            ("127.0.0.1", own, &[("sec-fetch-site", "none")], Ok(())),
            ("127.0.0.1", own, &[("sec-fetch-site", "same-site")], Err(Refused::Site)),
            ("127.0.0.1", own, &[("sec-fetch-site", "cross-site")], Err(Refused::Site)),
            (
                "127.0.0.1",
                own,
                &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
                Ok(()),
            ),
        ] {
            let headers = [&[("host", host)], more].concat();
            assert_eq!(check(ip, &["robot.local"], &headers), expected, "{ip} {headers:?}");
        }
        assert_eq!(check("127.0.0.1", &[], &[]), Err(Refused::Host), "without a name");
    }

    #[test]
    fn other_machines_need_the_whole_token() {
        let access = Access::new(Vec::new(), true).unwrap();
        let gate = access.to("0.0.0.0".parse().unwrap());
        let token = gate.token().unwrap();
        let bearer = format!("Bearer {token}");
        assert_eq!(gate.check_token(Some(&bearer), "/stream"), Ok(()));
        assert_eq!(gate.check_token(None, &format!("/metrics?a=b&token={token}")), Ok(()));
        let other = token.replace(|c: char| c.is_ascii_digit(), "x");
        for (header, target) in [
            (None, "/".into()),
            (Some("Bearer "), "/".into()),
            (Some(token), "/".into()),
            (Some(&bearer[..bearer.len() - 1]), "/".into()),
            (None, format!("/?token={token}0")),
            (None, format!("/?token={other}")),
            (None, format!("/?xtoken={token}")),
        ] {
            assert_eq!(gate.check_token(header, &target), Err(Refused::Token), "{header:?}");
        }
        let again = Access::new(Vec::new(), true).unwrap().to("0.0.0.0".parse().unwrap());
        assert_ne!(again.token(), gate.token(), "it is random");
        for gate in [
            access.to("127.0.0.1".parse().unwrap()),
            Access::new(Vec::new(), false).unwrap().to("0.0.0.0".parse().unwrap()),
        ] {
            assert_eq!(gate.token(), None);
            assert_eq!(gate.check_token(None, "/"), Ok(()));
        }
    }
}
