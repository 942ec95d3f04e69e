use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use keyward::policy::{Delivery, SameSitePolicy};
use keyward_core::limits::Quota;
use tempfile::TempDir;

use super::*;

/// A data directory with a configuration file of this text.
struct Place {
    folder: TempDir,
    overrides: Overrides,
}

impl Place {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keyward.toml");
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("set");
        let data_dir = folder.path().to_owned();
        let overrides = Overrides { file: Some(file), data_dir, ..Overrides::default() };
        Self { folder, overrides }
    }

    fn dev(text: &str) -> Self {
        let mut place = Self::with(text);
        place.overrides.dev = true;
        place
    }

    fn read(&self, environment: &[(&str, &str)]) -> Reading {
        read(&self.overrides, environment.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn valid(&self, environment: &[(&str, &str)]) -> Configuration {
        let reading = self.read(environment);
        assert_eq!(reading.problems, []);
        reading.configuration.expect("no problem, so a configuration")
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
    }
}

/// The text is refused, with exactly one problem, which names the key.
fn check_refused(key: &str, text: &str) {
    let reading = Place::with(text).read(&[]);
    assert!(reading.configuration.is_none(), "{text}");
    let keys: Vec<&str> = reading.problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, [key], "{text}: {:?}", reading.problems);
}

/// The text is taken, with exactly one warning beside that of the missing `public_url`.
fn check_warned(key: &str, text: &str) {
    let reading = Place::with(text).read(&[]);
    assert_eq!(reading.problems, [], "{text}");
    let warned = |finding: &&Finding| finding.key != "server.public_url";
    let keys: Vec<&str> =
        reading.warnings.iter().filter(warned).map(|warning| warning.key.as_str()).collect();
    assert_eq!(keys, [key], "{text}: {:?}", reading.warnings);
}

#[test]
fn nothing_set_is_valid() {
    let configuration = Place::with("").valid(&[]);
    assert_eq!(configuration.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(configuration.policy.web.public_url, "http://127.0.0.1:8080");
    assert_eq!(configuration.policy.rotation.retry_window, Duration::from_secs(24 * 3600));
    assert!(configuration.policy.cookies.secure);
}

#[test]
fn values_that_cannot_be_meant_are_refused_by_their_key() {
    for (key, line) in [
        ("server.listen", "listen = 'localhost'"),
        ("server.listen", "listen = 8080"),
        ("server.public_url", "public_url = 'https://auth.example.org/'"),
        ("server.public_url", "public_url = 'https://auth.example.org/path'"),
        ("server.public_url", "public_url = 'ftp://auth.example.org'"),
        ("server.public_url", "public_url = 'http://auth.example.org'"),
        ("server.base_path", "base_path = 'api'"),
        ("server.base_path", "base_path = '/api/'"),
        ("server.base_path", "base_path = '/'"),
        ("server.base_path", "base_path = '/api/../x'"),
        ("server.trusted_proxies", "trusted_proxies = ['proxy']"),
        ("server.tls_cert", "tls_cert = 'cert.pem'"),
        ("server.tls_key", "tls_key = 'key.pem'"),
        ("server.request_timeout", "request_timeout = '0s'"),
        ("server.request_timeout", "request_timeout = 15"),
        ("server.shutdown_timeout", "shutdown_timeout = '1d'"),
        ("server.connections_max", "connections_max = 0"),
        ("server.connections_max", "connections_max = 1.5"),
        ("server.threads", "threads = 0"),
    ] {
        check_refused(key, &format!("[server]\n{line}"));
    }
    check_refused("store.url", "[store]\nurl = 'mysql://localhost/keyward'");
    check_refused("store.password", "[store]\npassword = 'x'");
    check_refused("store.max_connections", "[store]\nmax_connections = 5");
    check_refused("store.url", "[store]\nurl = 'sqlite:'");
    check_refused("store.url", "[store]\nurl = 'postgres://keyward@db.example.org/keyward'");
    check_refused("store.url", "[store]\nurl = 1");
    check_refused("ops.log", "[ops]\nlog = 'xml'");
    check_refused("keys.master_key", "[keys]\nmaster_key = 'short'");
    check_refused("keys.master_key_file", "[keys]\nmaster_key_file = 'missing'");
    for (key, line) in [
        ("keys.rotate_every", "rotate_every = '1d'"),
        ("keys.rotate_every", "rotate_every = 'never'"),
        ("keys.rotate_every", "rotate_every = 90"),
        ("keys.overlap", "overlap = '5m'"),
        ("keys.overlap", "overlap = '2d'"),
    ] {
        check_refused(key, &format!("[keys]\n{line}"));
    }
    for retention in ["'29d'", "'3651d'", "'off'", "365"] {
        check_refused("audit.retention", &format!("[audit]\nretention = {retention}"));
    }
}

#[test]
fn what_steers_a_terminal_is_shown_in_a_finding() {
    let reading =
        Place::with("\"a\\u001b\\n\" = 1\n[cors]\nallowed_origins = ['\u{202e}']").read(&[]);
    let told: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|sentence| sentence.contains(": a\\u{1b}\\n is no key")), "{told:?}");
    assert!(told.iter().any(|sentence| sentence.contains("lists \"\\u{202e}\"")), "{told:?}");
}

#[test]
fn tokens_that_live_too_long_or_are_guessed_are_refused() {
    for (key, line) in [
        ("access_token.algorithm", "algorithm = 'none'"),
        ("access_token.ttl", "ttl = '61m'"),
        ("access_token.ttl", "ttl = '0s'"),
        ("access_token.ttl", "ttl = '15 min'"),
        ("access_token.issuer", "issuer = ''"),
        ("access_token.delivery", "delivery = 'header'"),
        (
            "access_token.hmac_secret",
            "algorithm = 'HS256'\nhmac_secret = '31 bytes are one too few 012345'",
        ),
        (
            "access_token.hmac_secret",
            "algorithm = 'HS256'\nhmac_secret = 'change-me-change-me-change-me-change-me'",
        ),
    ] {
        check_refused(key, &format!("[access_token]\n{line}"));
    }
    let long = "i".repeat(256);
    for name in ["issuer", "audience", "client_id"] {
        let key = format!("access_token.{name}");
        check_refused(&key, &format!("[access_token]\n{name} = '{long}'"));
    }
    for (key, line) in [
        ("refresh_token.idle_ttl", "idle_ttl = '31d'"),
        ("refresh_token.idle_ttl", "idle_ttl = '0s'"),
        ("refresh_token.absolute_ttl", "absolute_ttl = '401d'"),
        ("refresh_token.on_reuse", "on_reuse = 'ignore'"),
        ("refresh_token.race_window", "race_window = '61s'"),
        ("refresh_token.retry_window", "retry_window = '8d'"),
    ] {
        check_refused(key, &format!("[refresh_token]\n{line}"));
    }
    check_refused(
        "refresh_token.retry_window",
        "[access_token]\ndelivery = 'cookie'\n[refresh_token]\nretry_window = '24h'",
    );
}

#[test]
fn cookies_and_origins_that_give_sessions_away_are_refused() {
    let remote = "[server]\nlisten = '0.0.0.0:80'\npublic_url = 'https://auth.example.org'\n";
    check_refused("cookies.secure", &format!("{remote}[cookies]\nsecure = false"));
    check_refused("cookies.same_site", "[cookies]\nsame_site = 'none'\nsecure = false");
    check_refused("cookies.same_site", "[cookies]\nsame_site = 'off'");
    check_refused("cookies.domain", &format!("{remote}[cookies]\ndomain = 'example.com'"));
    check_refused("cookies.domain", &format!("{remote}[cookies]\ndomain = '.example.org'"));
    check_refused("cookies.domain", &format!("{remote}[cookies]\ndomain = 'org'"));
    check_refused("cookies.csrf_name", "[cookies]\ncsrf_name = '__Host-csrf'");
    check_refused("cookies.csrf_name", "[cookies]\ncsrf_name = 'a b'");
    check_refused("cookies.csrf_name", "[cookies]\ncsrf_name = 'a+b'");
    check_refused("cookies.refresh_name", "[cookies]\nrefresh_name = 'x'\ncsrf_name = 'x'");
    check_refused("server.public_url", "[server]\nlisten = '0.0.0.0:80'");
    for origin in ["*", "https://*.example.org", "https://app.example.org/", "app.example.org"] {
        check_refused("cors.allowed_origins", &format!("[cors]\nallowed_origins = ['{origin}']"));
    }
}

#[test]
fn plain_http_beyond_loopback_has_to_be_asked_for_by_name() {
    let text = "[server]\nlisten = '0.0.0.0:80'\npublic_url = 'http://auth.example.org'\n\
                [cookies]\nsecure = false\nallow_insecure = true";
    check_warned("cookies.allow_insecure", text);
}

#[test]
fn passwords_and_limits_have_a_floor() {
    check_refused("password.min_length", "[password]\nmin_length = 7");
    check_refused("password.max_concurrent_hashes", "[password]\nmax_concurrent_hashes = 0");
    for argon2 in [
        "{ memory = '18MiB' }",
        "{ passes = 1 }",
        "{ memory = '45MiB', passes = 1 }",
        "{ memory = '11MiB', passes = 3 }",
    ] {
        check_refused("password.argon2", &format!("[password]\nargon2 = {argon2}"));
    }
    for argon2 in ["{ memory = '46MiB', passes = 1 }", "{ memory = '12MiB', passes = 3 }"] {
        Place::with(&format!("[password]\nargon2 = {argon2}")).valid(&[]);
    }
    check_refused("password.argon2.passes", "[password]\nargon2 = { passes = 17 }");
    check_refused("password.argon2.memory", "[password]\nargon2 = { memory = '19' }");
    check_refused("password.argon2.memory", "[password]\nargon2 = { memory = '2GiB' }");
    check_refused("limits.login_account", "[limits]\nlogin_account = '5'");
    check_refused("mail.url", "[accounts]\nregistration = 'verified'");
    for from in
        ["", "nobody", "@example.org", "a@example.org, b@example.org", "a\\r\\nBcc: b@example.org"]
    {
        check_refused("mail.from", &format!("[mail]\nurl = 'file:outbox'\nfrom = \"{from}\""));
    }
    // At the number that the service is reached by nobody reads mail.
    check_refused("mail.from", "[mail]\nurl = 'file:outbox'");
    check_refused("mail.from", "[mail]\nfrom = 'no-reply@example.org'");
    let by_mail = "[mail]\nurl = 'file:outbox'\nfrom = 'a@example.org'\n[accounts]\n";
    check_warned("accounts.registration", &format!("{by_mail}registration = 'verified'"));
    check_refused("accounts.sessions_max", "[accounts]\nsessions_max = 0");
}

#[test]
fn a_database_that_others_can_read_is_warned_of() {
    let place = Place::with("");
    let warned =
        |place: &Place| place.read(&[]).warnings.iter().any(|warning| warning.key == "store.url");
    place.write("keyward.db", "", 0o600);
    assert!(!warned(&place));
    place.write("keyward.db", "", 0o640);
    assert!(warned(&place));
}

#[test]
fn what_is_weak_is_warned_of() {
    check_warned("limits.login_account", "[limits]\nlogin_account = 'off'");
    let plain = "postgres://keyward@db.example.org/keyward?sslmode=disable";
    check_warned("store.url", &format!("[store]\nurl = '{plain}'"));
    check_warned("server.trusted_proxies", "[server]\ntrusted_proxies = ['0.0.0.0/0']");
    check_warned("cors.allowed_origins", "[cors]\nallowed_origins = ['http://app.example.org']");
    check_warned("keys.rotate_every", "[keys]\nrotate_every = 'off'");
    check_warned("audit.retention", "[audit]\nretention = 'forever'");
    check_warned("refresh_token.race_window", "[refresh_token]\nrace_window = '5s'");
    check_warned("refresh_token.idle_ttl", "[refresh_token]\nidle_ttl = '29m'");
    let url = "[server]\npublic_url = 'https://auth.example.org'\n";
    check_warned("server.trusted_proxies", url);
    let url = format!("{url}trusted_proxies = ['127.0.0.1']\n");
    check_warned("cookies.domain", &format!("{url}[cookies]\ndomain = 'example.org'"));
    check_warned("mail.url", &format!("{url}[mail]\nurl = 'file:outbox'"));
    Place::with(&format!("{url}[mail]\nurl = 'smtps://mail.example.org'")).valid(&[]);
    let reading = Place::with("").read(&[]);
    assert_eq!(reading.warnings.len(), 1, "{:?}", reading.warnings);
}

#[test]
fn shared_state_is_on_a_server_that_asks_for_a_password() {
    check_refused("shared.url", "[shared]\nurl = 'memcached://localhost'");
    check_refused("shared.url", "[shared]\nurl = 'rediss://:hush@localhost#insecure'");
    check_refused("shared.url", "[shared]\nurl = 1");
    check_refused("shared.password", "[shared]\npassword = 'hush'");
    let url = "[shared]\nurl = 'rediss://cache.example.org'";
    check_refused("shared.password_file", &format!("{url}\npassword_file = 'missing'"));
    check_warned("shared.url", "[shared]\nurl = 'redis://localhost'");
    check_warned("shared.url", "[shared]\nurl = 'redis://:hush@cache.example.org'");
    let place = Place::with("[shared]\nurl = 'rediss://cache.example.org'\npassword = 'hush'");
    let reading = place.read(&[]);
    assert!(!reading.warnings.iter().any(|warning| warning.key == "shared.url"));
    let shared = reading.configuration.expect("valid").shared.expect("set");
    assert!(!format!("{shared:?}").contains("hush"), "{shared:?}");
}

#[test]
fn metrics_have_an_address_of_their_own_that_others_had_better_not_reach() {
    check_refused("ops.listen", "[ops]\nlisten = 'localhost'");
    check_refused("ops.listen", "[ops]\nlisten = '127.0.0.1:8080'");
    check_warned("ops.listen", "[ops]\nlisten = '0.0.0.0:9090'");
    let set = Place::with("[ops]\nlisten = '[::1]:9090'").valid(&[]).ops;
    assert_eq!(set.listen, Some("[::1]:9090".parse().expect("an address")));
    assert_eq!(Place::with("").valid(&[]).ops.listen, None);
}

#[test]
fn unknown_keys_are_refused_with_what_is_known() {
    check_refused("access_token.tll", "[access_token]\ntll = '15m'");
    check_refused("mail.path", "[mail]\npath = 'outbox'");
    check_refused("listen", "listen = '127.0.0.1:1'");
    let problems = Place::with("[store]\npath = 'x'").read(&[]).problems;
    assert!(problems[0].to_string().contains("keyward.toml:2: store.path"), "{}", problems[0]);
    let known = "use one of max_connections, password, password_file, prepared_statements, \
         share_commits, url.";
    assert!(problems[0].to_string().contains(known), "{}", problems[0]);
}

#[test]
fn every_problem_is_told_at_once() {
    let text = "[server]\nlisten = 'x'\n[access_token]\nttl = '2h'\n[nonsense]\nkey = 1";
    let keys: Vec<String> =
        Place::with(text).read(&[]).problems.into_iter().map(|p| p.key).collect();
    assert_eq!(keys, ["server.listen", "access_token.ttl", "nonsense.key"]);
}

#[test]
fn a_file_that_is_no_toml_is_refused_by_its_line() {
    let problems = Place::with("[server]\nlisten = \n").read(&[]).problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].place.as_ref().is_some_and(|place| place.ends_with("keyward.toml:2")));
}

#[test]
fn a_named_file_must_be_there() {
    let mut place = Place::with("");
    place.overrides.file = Some(place.folder.path().join("other.toml"));
    assert_eq!(place.read(&[]).problems.len(), 1);
}

#[test]
fn the_environment_goes_over_the_file() {
    let place = Place::with("[access_token]\nttl = '5m'\nclient_id = 'app'");
    let configuration = place.valid(&[
        ("KEYWARD_ACCESS_TOKEN__TTL", "10m"),
        ("KEYWARD_ACCESS_TOKEN__DELIVERY", "cookie"),
        ("KEYWARD_CORS__ALLOWED_ORIGINS", "https://a.example.org, https://b.example.org"),
        ("KEYWARD_COOKIES__SAME_SITE", "lax"),
        ("KEYWARD_PASSWORD__MIN_LENGTH", "12"),
        ("KEYWARD_PASSWORD__ARGON2__PASSES", "3"),
        ("KEYWARD_LIMITS__LOGIN_ACCOUNT", "3 per 1m"),
        ("KEYWARD_PORT", "tcp://10.0.0.1:80"),
        ("HOME", "/root"),
    ]);
    let policy = configuration.policy;
    assert_eq!(policy.access_token.ttl, Duration::from_secs(600));
    assert_eq!(policy.access_token.client_id, "app");
    assert_eq!(policy.access_token.delivery, Delivery::Cookie);
    assert_eq!(policy.rotation.retry_window, Duration::from_secs(60));
    assert_eq!(policy.cookies.same_site, SameSitePolicy::Lax);
    assert_eq!(policy.password.min_length, 12);
    assert_eq!(policy.hashing.passes, 3);
    assert_eq!(policy.limits.login_account, Quota::new(3, Duration::from_secs(60)));
    let origins = ["https://a.example.org".to_owned(), "https://b.example.org".to_owned()];
    assert_eq!(policy.web.allowed_origins, AllowedOrigins::Listed(origins.to_vec()));
}

#[test]
fn an_unknown_variable_is_refused_by_its_name() {
    let problems = Place::with("").read(&[("KEYWARD_ACCESS_TOKEN__TLL", "10m")]).problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].place.as_deref(), Some("KEYWARD_ACCESS_TOKEN__TLL"));
}

#[test]
fn secrets_come_from_files_of_their_own() {
    let place = Place::with("[access_token]\nalgorithm = 'HS256'");
    let secret = "q7Zt3vXw9Kp2Lm5Nb8Rc1Yd4Gf6Hj0Sa";
    place.write("hmac", &format!("{secret}\n"), 0o600);
    let variable = ("KEYWARD_ACCESS_TOKEN__HMAC_SECRET_FILE", "hmac");
    let configuration = place.valid(&[variable]);
    let read = configuration.policy.access_token.hmac_secret.expect("set");
    assert_eq!(read.as_slice(), secret.as_bytes());

    place.write("hmac", secret, 0o644);
    let problems = place.read(&[variable]).problems;
    assert!(problems[0].complaint.contains("chmod 600"), "{problems:?}");

    let both = [variable, ("KEYWARD_ACCESS_TOKEN__HMAC_SECRET", secret)];
    place.write("hmac", secret, 0o600);
    let problems = place.read(&both).problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].complaint.contains("keep one of them"), "{problems:?}");
}

#[test]
fn the_environment_replaces_a_secret_in_whichever_form_the_file_has_it() {
    let (one, other) = ("A".repeat(43), "B".repeat(42) + "A");
    let sealed_by = |place: &Place, environment: &[(&str, &str)]| {
        let key = place.valid(environment).master_key.find().expect("read").expect("there");
        key.seal(b"x", "place", &[0; 12])
    };
    let inline = Place::with(&format!("[keys]\nmaster_key = '{one}'"));
    inline.write("other", &other, 0o600);
    let named = Place::with("[keys]\nmaster_key_file = 'one'");
    named.write("one", &one, 0o600);
    let expected = sealed_by(&Place::with(&format!("[keys]\nmaster_key = '{other}'")), &[]);
    assert_eq!(sealed_by(&inline, &[("KEYWARD_KEYS__MASTER_KEY_FILE", "other")]), expected);
    assert_eq!(sealed_by(&named, &[("KEYWARD_KEYS__MASTER_KEY", &other)]), expected);

    // What counts is what is complained of, and two forms side by side are one too many.
    let problems = inline.read(&[("KEYWARD_KEYS__MASTER_KEY_FILE", "missing")]).problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].key, "keys.master_key_file");
    let both = format!("[keys]\nmaster_key = '{one}'\nmaster_key_file = 'one'");
    let problems = Place::with(&both).read(&[]).problems;
    assert!(problems.iter().any(|problem| problem.complaint.contains("keep one of them")));
}

#[test]
fn a_secret_in_a_file_that_others_read_is_refused_and_never_shown() {
    let secret = "q7Zt3vXw9Kp2Lm5Nb8Rc1Yd4Gf6Hj0Sa";
    let text = format!("[access_token]\nalgorithm = 'HS256'\nhmac_secret = '{secret}'");
    let place = Place::with(&text);
    let file = place.overrides.file.clone().expect("set");
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("set");
    let reading = place.read(&[]);
    assert!(reading.problems[0].complaint.contains("chmod 600"), "{:?}", reading.problems);
    assert!(!format!("{reading:?}").contains(secret));
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("set");
    assert!(!format!("{:?}", place.valid(&[])).contains(secret));
}

#[test]
fn development_is_for_this_machine() {
    let mut place = Place::dev("");
    place.overrides.listen = Some("127.0.0.1:4000".parse().expect("an address"));
    let configuration = place.valid(&[]);
    let web = &configuration.policy.web;
    assert_eq!(web.public_url, "http://localhost:4000");
    assert_eq!(web.own_origins.len(), 3);
    assert!(web.own_origins.contains(&"http://[::1]:4000".to_owned()));
    assert_eq!(web.allowed_origins, AllowedOrigins::AnyLoopback);
    assert!(!configuration.policy.cookies.secure);
    assert!(configuration.policy.limits.login_account.is_some());
    assert_eq!(configuration.store, StoreSettings::Sqlite(place.folder.path().join("keyward.db")));

    let listed = place.valid(&[("KEYWARD_CORS__ALLOWED_ORIGINS", "http://localhost:3000")]);
    let origins = vec!["http://localhost:3000".to_owned()];
    assert_eq!(listed.policy.web.allowed_origins, AllowedOrigins::Listed(origins));

    place.overrides.listen = Some("0.0.0.0:4000".parse().expect("an address"));
    let problems = place.read(&[]).problems;
    assert!(problems.iter().any(|problem| problem.key == "server.listen"), "{problems:?}");
    check_refused_in_dev("[server]\ntls_cert = 'a'\ntls_key = 'b'");
}

fn check_refused_in_dev(text: &str) {
    assert_eq!(Place::dev(text).read(&[]).problems.len(), 1, "{text}");
}

#[test]
fn the_master_key_is_made_once_and_kept() {
    let place = Place::with("");
    let source = place.valid(&[]).master_key;
    let (one, other) = ("A".repeat(43), "B".repeat(42) + "A");
    assert!(source.find().expect("no failure").is_none());
    source.find_or_create(&one).expect("made");
    let sealed = source.find().expect("read").expect("there").seal(b"x", "place", &[0; 12]);
    let kept = source.find_or_create(&other).expect("kept");
    kept.open(&sealed, "place").expect("the same key");

    place.write("keyward.master-key", &one, 0o640);
    assert!(source.find().expect_err("readable by others").contains("chmod 600"));
}

/// Whoever serves from a file that the command line names may have another store in mind.
#[test]
fn keys_for_a_server_beside_a_named_file_are_warned_of() {
    let mut place = Place::dev("[store]\nmax_connections = 5");
    place.overrides.store = Some("sqlite:other.db".to_owned());
    let reading = place.read(&[]);
    assert_eq!(reading.problems, []);
    assert!(reading.warnings.iter().any(|warning| warning.key == "store.max_connections"));
}

/// `keyward secret` makes what nobody else has to know.
#[test]
fn a_password_file_that_is_missing_waits_for_the_password() {
    for (section, is_password) in
        [("store", true), ("shared", true), ("mail", true), ("access_token", false)]
    {
        let key = if is_password { "password_file" } else { "hmac_secret_file" };
        let problems = Place::with(&format!("[{section}]\n{key} = 'missing'")).read(&[]).problems;
        let told = problems.iter().find(|problem| problem.key == format!("{section}.{key}"));
        let told = &told.expect(section).complaint;
        assert_eq!(told.contains("write the password into it"), is_password, "{told}");
        assert_eq!(told.contains("keyward secret"), !is_password, "{told}");
    }
}

#[test]
fn what_the_command_line_names_wrongly_is_blamed_on_it() {
    for url in ["mysql://a@b/c", "postgres://keyward@db.example.org/keyward?sslmode=prefer"] {
        for (is_target, option) in [(false, "--store"), (true, "--to")] {
            let mut place = Place::with("[store]\nurl = 'sqlite:keyward.db'");
            place.overrides.store = Some(url.to_owned());
            place.overrides.is_target = is_target;
            let problems = place.read(&[]).problems;
            assert_eq!((problems.len(), &*problems[0].key), (1, option), "{problems:?}");
            assert_eq!(problems[0].place, None);
        }
    }
}
