//! Just enough of HTTP/1.1, over any stream.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::{Value, json};

/// One kept connection.
pub(crate) struct Client<S: Read + Write = TcpStream> {
    stream: BufReader<S>,
    names: CookieNames,
}

impl Client {
    /// Connects to a service in development.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream, PLAIN_COOKIES))
    }

    /// Closes the connection for the other side, as an aborted request does. What had been sent
    /// back by then can still be read here.
    pub(crate) fn abort(&self) -> io::Result<()> {
        self.stream().shutdown(Shutdown::Write)
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S, names: CookieNames) -> Self {
        Self { stream: BufReader::new(stream), names }
    }

    pub(crate) fn stream(&self) -> &S {
        self.stream.get_ref()
    }

    pub(crate) fn register(&mut self, email: &str, password: &str) -> io::Result<Answer> {
        let body = json!({ "email": email, "password": password });
        self.post("/api/auth/register", &[], &body)
    }

    pub(crate) fn login(&mut self, email: &str, password: &str) -> io::Result<Answer> {
        let body = json!({ "email": email, "password": password });
        self.post("/api/auth/login", &[], &body)
    }

    /// Presents a refresh token as a browser does.
    pub(crate) fn refresh(&mut self, tokens: &Tokens, key: Option<&str>) -> io::Result<Answer> {
        self.present(tokens, key)?;
        self.answer()
    }

    /// As [`Client::refresh`], without waiting for the answer.
    pub(crate) fn present(&mut self, tokens: &Tokens, key: Option<&str>) -> io::Result<()> {
        let cookies = self.cookies(tokens);
        let mut headers = vec![("Cookie", cookies.as_str()), ("X-CSRF-Token", &tokens.csrf)];
        headers.extend(key.map(|key| ("Idempotency-Key", key)));
        self.begin("POST", "/api/auth/refresh", &headers, 0)
    }

    pub(crate) fn logout(&mut self, tokens: &Tokens) -> io::Result<Answer> {
        let cookies = self.cookies(tokens);
        let headers = [("Cookie", cookies.as_str()), ("X-CSRF-Token", &tokens.csrf)];
        self.send("POST", "/api/auth/logout", &headers, "")
    }

    /// Asks who the bearer of the access token is.
    pub(crate) fn me(&mut self, tokens: &Tokens) -> io::Result<Answer> {
        self.send("GET", "/api/auth/me", &[("Authorization", &tokens.bearer())], "")
    }

    /// That nothing of a session works any more: no token that it ever had.
    pub(crate) fn expect_revoked(&mut self, spent: &[Tokens], current: &Tokens) {
        for tokens in spent.iter().chain([current]) {
            let answer = self.refresh(tokens, None).expect("answered");
            assert_eq!(answer.outcome(), "401 SESSION_REVOKED");
        }
        let answer = self.me(current).expect("answered");
        assert_eq!(answer.outcome(), "401 TOKEN_REVOKED");
    }

    pub(crate) fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> io::Result<Answer> {
        let headers = [headers, &[("Content-Type", "application/json")]].concat();
        self.send("POST", path, &headers, &body.to_string())
    }

    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Answer> {
        self.begin(method, path, headers, body.len())?;
        self.write(body)?;
        self.answer()
    }

    /// Sends the head of a request whose body of `length` bytes is still to come.
    pub(crate) fn begin(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: usize,
    ) -> io::Result<()> {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.write(&head)
    }

    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(text.as_bytes())?;
        stream.flush()
    }

    /// Reads one answer. A connection that ends before it is complete is an error.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not HTTP: {status_line}")))?;
        let mut answer =
            Answer { status, headers: Vec::new(), body: Vec::new(), names: self.names };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        answer.body.resize(length.unwrap_or(0), 0);
        self.stream.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    /// Whether the other side has closed the connection without another byte; waits until it does.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]))
    }

    /// Reads to the end of a line.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn cookies(&self, tokens: &Tokens) -> String {
        let CookieNames { refresh, csrf } = self.names;
        format!("{refresh}={}; {csrf}={}", tokens.refresh, tokens.csrf)
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    names: CookieNames,
}

impl Answer {
    /// The first header of this name, which is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        let set = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        set.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The status with the code of the error; `-` where there is none.
    pub(crate) fn outcome(&self) -> String {
        let code = serde_json::from_slice::<Value>(&self.body).ok();
        let code = code.and_then(|body| Some(body.get("code")?.as_str()?.to_owned()));
        format!("{} {}", self.status, code.as_deref().unwrap_or("-"))
    }

    /// What an answer that hands out tokens holds.
    pub(crate) fn tokens(&self) -> Tokens {
        let body = self.json();
        let member = |name: &str| body[name].as_str().expect("a text").to_owned();
        Tokens {
            access: member("accessToken"),
            refresh: self.cookie(self.names.refresh),
            csrf: self.cookie(self.names.csrf),
        }
    }

    fn cookie(&self, name: &str) -> String {
        let value = self.set_cookies().into_iter().find_map(|cookie| {
            let (found, rest) = cookie.split_once('=')?;
            (found == name).then(|| rest.split(';').next().unwrap_or_default().to_owned())
        });
        value.unwrap_or_else(|| panic!("no cookie {name}"))
    }
}

/// What a client is handed.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) csrf: String,
}

impl Tokens {
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.access)
    }

    /// The id of their session.
    pub(crate) fn session_id(&self) -> String {
        self.claim("sid")
    }

    /// A claim of the access token that is a text.
    pub(crate) fn claim(&self, name: &str) -> String {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let payload = self.access.split('.').nth(1).expect("a payload");
        let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
        let claims: Value = serde_json::from_slice(&payload).expect("claims");
        claims[name].as_str().expect("a text").to_owned()
    }
}

/// What the cookies are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CookieNames {
    pub(crate) refresh: &'static str,
    pub(crate) csrf: &'static str,
}

/// Over plain HTTP.
pub(crate) const PLAIN_COOKIES: CookieNames =
    CookieNames { refresh: "refreshToken", csrf: "csrfToken" };

/// Over TLS, where browsers hold what the prefixes promise.
pub(crate) const SECURE_COOKIES: CookieNames =
    CookieNames { refresh: "__Secure-refreshToken", csrf: "__Host-csrfToken" };
