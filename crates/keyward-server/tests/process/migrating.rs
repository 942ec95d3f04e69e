//! The guide for those who come from an Express app, step by step: its commands are taken from the
//! page, and do what it says they do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

#[cfg(feature = "postgres")]
use crate::database::Database;
use crate::import::{HASH, PASSWORD};
use crate::interop::{ISSUER, Lines, folder};
use crate::place::{BINARY, ENVIRONMENT, Place, Running};
use crate::readme::{block, replaced, require};

#[test]
fn users_of_a_mongodb_come_over_with_their_passwords() {
    require(&["jq"]);
    let site = Site::new();
    let row = |number: usize, mut user: Value| {
        user["_id"] = json!({ "$oid": format!("65f0c0ffee012345678900{number:02}") });
        user["__v"] = json!(0);
        format!("{user}\n")
    };
    let rows = [
        json!({ "email": ADA, "password": HASH, "name": "Ada", "role": "editor" }),
        json!({ "email": BOB, "password": HASH }),
        json!({ "email": "eve@example.org", "password": UNKNOWN, "name": "Eve" }),
        json!({ "email": GIL, "name": "Gil" }),
    ];
    let exported: String = (1..).zip(rows).map(|(number, user)| row(number, user)).collect();
    fs::write(site.place.file("exported.ndjson"), exported).expect("written");
    // What the program writes of such a collection, in the place of the program.
    let export =
        format!("mongoexport() {{ cat exported.ndjson; }}\n{}", site.step("$ mongoexport"));
    site.run(&export, &[("MONGO_URL", "mongodb://localhost/app")]);
    let user = site.check("65f0c0ffee01234567890001");
    assert_eq!(user["roles"], json!(["editor"]));
}

#[cfg(feature = "postgres")]
#[test]
fn users_of_a_table_come_over_with_their_passwords() {
    require(&["psql"]);
    let (site, database) = (Site::new(), Database::new());
    database.run(&format!(
        "CREATE TABLE public.users
            (id serial PRIMARY KEY, email text, password_hash text, name text);
         INSERT INTO public.users (email, password_hash, name) VALUES
            ('{ADA}', '{HASH}', 'Ada'), ('{BOB}', '{HASH}', NULL),
            ('eve@example.org', '{UNKNOWN}', 'Eve'), ('{GIL}', NULL, 'Gil')"
    ));
    site.run(&site.step("$ psql"), &[("DATABASE_URL", &database.url())]);
    site.check("1");
}

/// A machine with a service in a folder of its own, set up as the page says.
struct Site {
    place: Place,
    page: String,
}

impl Site {
    /// The first step, but for the service itself.
    fn new() -> Self {
        let page =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/migrating-from-express.md");
        let site = Self { place: Place::new(), page: fs::read_to_string(page).expect("the page") };
        require(&["bash"]);
        let first = site.step("$ keyward init");
        let (prepare, _) = first.split_once("keyward serve").expect("the last command");
        site.run(prepare, &[]);
        site
    }

    /// The commands of a block of the page, in the folder of this place.
    fn step(&self, beginning: &str) -> String {
        let lines = block(&self.page, "console", beginning).lines();
        let lines = lines.map(|line| format!("{}\n", line.strip_prefix("$ ").unwrap_or(line)));
        let data_dir = self.place.file("data");
        lines.collect::<String>().replace(DATA_DIR, data_dir.to_str().expect("UTF-8"))
    }

    /// What a shell prints that all went well in.
    fn run(&self, script: &str, environment: &[(&str, &str)]) -> String {
        let output = self.shell(script, environment).output().expect("bash runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{told}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn shell(&self, script: &str, environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new("bash");
        let programs = Path::new(BINARY).parent().expect("a folder").display();
        let script = format!("set -eo pipefail; PATH=\"{programs}:$PATH\"\n{script}");
        command.args(["-c", &script]).current_dir(self.place.path()).stdin(Stdio::null());
        command.envs(environment.iter().copied());
        command
    }

    /// All steps from the import on, once the users are written out. Answers the first one as they
    /// have signed in.
    fn check(&self, legacy_id: &str) -> Value {
        self.import();
        let service = self.serve();
        let login = |email| service.connect().login(email, PASSWORD).expect("answered");
        let answer = login(ADA);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut middleware = self.middleware(&service);
        let access = answer.json()["accessToken"].as_str().expect("a token").to_owned();
        assert_eq!(middleware.ask(&access), format!("user {legacy_id}"));
        assert_eq!(middleware.ask(&format!("old {legacy_id}")), format!("user {legacy_id}"));
        let (signed, _) = access.rsplit_once('.').expect("a signature");
        assert_eq!(middleware.ask(&format!("{signed}.AAAA")), "answered 401");

        assert_eq!(login(BOB).status, 200);
        assert_eq!(login(BOB).status, 200);
        assert_eq!(login(GIL).outcome(), "401 INVALID_CREDENTIALS");
        assert_eq!(login("eve@example.org").outcome(), "401 INVALID_CREDENTIALS");
        service.stop();
        self.assert_rehashed();
        answer.json()["user"].clone()
    }

    /// The third step prints what the page says, and repeated says that all are there.
    fn import(&self) {
        let step = self.step("$ keyward user import");
        let (command, promised) = step.split_once('\n').expect("a command and what it prints");
        let run = || {
            let output = self.shell(&format!("{command} 2>&1"), &[]).output().expect("bash runs");
            assert_eq!(output.status.code(), Some(1));
            String::from_utf8(output.stdout).expect("UTF-8")
        };
        let service = self.serve();
        assert_eq!(run(), promised);
        service.stop();
        let repeated = promised.replace("Imported 3 users; 0 were", "Imported 0 users; 3 were");
        assert_ne!(repeated, promised);
        assert_eq!(run(), repeated);
    }

    fn serve(&self) -> Running {
        let first = self.step("$ keyward init");
        let serve = first.lines().find_map(|line| line.strip_prefix("keyward serve"));
        let arguments = serve.expect("a command").split_whitespace();
        let mut command = self.place.keyward(&["serve"]);
        command.args(arguments).env("KEYWARD_SERVER__LISTEN", "127.0.0.1:0");
        self.place.start(command.envs(ENVIRONMENT))
    }

    /// The fourth step: the page's own code, for this service.
    fn middleware(&self, service: &Running) -> Lines {
        self.run(&self.step("$ (umask 077; keyward service-key"), &[]);
        let code = block(&self.page, "js", "import { readFileSync }");
        let source = format!("new Source(\"http://{}\"", service.address);
        let code = replaced(code, &format!("new Source(\"{PUBLIC_URL}\""), &source);
        let code = replaced(&code, PUBLIC_URL, ISSUER);
        fs::write(self.place.file("middleware.mjs"), code).expect("written");
        self.link("jsonwebtoken", &folder().join("node_modules/jsonwebtoken"));
        self.link("@keyward/node", &built_client());
        let mut node = Command::new("node");
        node.arg(folder().join("run_express_middleware.mjs"));
        node.arg(self.place.file("middleware.mjs")).current_dir(self.place.path());
        Lines::start(node)
    }

    /// As `npm install` would put a package there.
    fn link(&self, package: &str, from: &Path) {
        let to = self.place.file("node_modules").join(package);
        fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        symlink(from, to).expect("linked");
    }

    /// Who has signed in is listed, each once; the page says how to see it.
    fn assert_rehashed(&self) {
        let page = self.page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(page.contains("`keyward audit --type password.rehashed` lists who has come over"));
        let data = self.place.file("data");
        let data = data.to_str().expect("UTF-8");
        let list = ["audit", "--type", "password.rehashed", "--json", "--data-dir", data];
        let listed = self.place.prints(&list);
        assert_eq!(listed.lines().count(), 2, "{listed}");
    }
}

/// `@keyward/node` as it is published.
fn built_client() -> PathBuf {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/node");
    assert!(
        client.join("dist").is_dir(),
        "This test needs `@keyward/node`: `cargo xtask test` builds it, or `npm ci` and \
         `npm run build` in `clients`."
    );
    client.canonicalize().expect("a folder")
}

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";

/// Signed in with another service, and has no password.
const GIL: &str = "gil@example.org";

/// What no service knows, at the line that the page tells of.
const UNKNOWN: &str = "5f4dcc3b5aa765d61d8327deb882cf99";

/// Of the page.
const DATA_DIR: &str = "/var/lib/keyward";
const PUBLIC_URL: &str = "https://auth.example.org";
