use proptest::prelude::*;

use super::*;

/// A sign-in as the hash pool does it, without its threads.
fn fits(hash: &StoredHash, typed: &str) -> bool {
    let password = Password::parse(typed).expect("short enough");
    super::super::Memory::new(Cost { memory_kib: 64, passes: 1, lanes: 1 })
        .verify_stored(&password, hash)
}

const TYPED: &str = "zimtkringel im régen";

/// The hashes of `vectors.txt` with their schemes.
fn vectors() -> impl Iterator<Item = (Scheme, &'static str)> {
    let lines = include_str!("vectors.txt").lines().skip(1);
    lines.map(|line| {
        let parts: Vec<&str> = line.split(' ').collect();
        let [scheme, _program, text] = parts[..] else { panic!("{line}") };
        let known = [Scheme::Argon2, Scheme::Bcrypt, Scheme::Pbkdf2, Scheme::Scrypt];
        let known = known.into_iter().find(|known| known.name() == scheme);
        (known.unwrap_or_else(|| panic!("{line}")), text)
    })
}

/// The kept hash, read again.
fn adopted(text: &str) -> StoredHash {
    let kept = adopt(text, None).unwrap_or_else(|unfit| panic!("{text} {unfit}"));
    StoredHash::parse(kept.as_phc()).unwrap_or_else(|unfit| panic!("{text} {unfit}"))
}

#[test]
fn hashes_of_other_systems_fit_their_password_and_no_other() {
    for (scheme, text) in vectors() {
        let hash = adopted(text);
        assert_eq!(hash.scheme(), scheme, "{text}");
        assert!(fits(&hash, TYPED), "{text}");
        assert!(!fits(&hash, "zimtkringel im Régen"), "{text}");
        assert!(!fits(&hash, ""), "{text}");
    }
}

/// No other system has normalised what was typed.
#[test]
fn hashes_of_other_systems_are_of_what_was_typed() {
    let decomposed = TYPED.replace('é', "e\u{301}");
    for (_, text) in vectors() {
        let hash = adopted(text);
        // Argon2id may be ours, which is normalised, or another system's.
        let is_ours = matches!(&hash, StoredHash::Ours(_));
        assert_eq!(fits(&hash, &decomposed), is_ours, "{text}");
    }
    let elsewhere =
        "$argon2id$v=19$m=256,t=2,p=1$c2FsdHNhbHQ$KVd8UyW1a8sL520hka+cq+6oUPlHYXmounygiEsTPyI";
    assert!(fits(&adopted(elsewhere), &decomposed) && !fits(&adopted(elsewhere), TYPED));
}

/// The example of github.com/firebase/scrypt.
#[test]
fn a_hash_of_firebase_is_kept_without_the_signer_key() {
    const SIGNER_KEY: &str = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0Qs\
        EmYUSDzZvpjeJ9WmXA==";
    const HASH: &str = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo781\
        98JAdRuid5lQ==";
    let parameters = FirebaseParameters::from_json(&format!(
        r#"{{"algorithm": "SCRYPT", "base64_signer_key": "{SIGNER_KEY}",
            "base64_salt_separator": "Bw==", "rounds": 8, "mem_cost": 14}}"#
    ))
    .expect("parameters");
    let given = format!("$firebase-scrypt$42xEC+ixf3L2lw==${HASH}");
    let kept = adopt(&given, Some(&parameters)).expect("taken");
    assert!(kept.as_phc().starts_with("$firebase-scrypt$ln=14,r=8,p=1$l=64$"));
    let part = |text: &str| text[..20].to_owned();
    assert!(!kept.as_phc().contains(&part(SIGNER_KEY)) && !kept.as_phc().contains(&part(HASH)));
    let hash = StoredHash::parse(kept.as_phc()).expect("kept");
    assert!(fits(&hash, "user1password") && !fits(&hash, "user2password"));
    assert_eq!(hash.memory_kib(), 16 * 1024);

    assert_eq!(adopt(&given, None), Err(UnfitHash::NeedsParameters));
    assert_eq!(adopt(kept.as_phc(), None), Err(UnfitHash::NeedsParameters));
    let malformed = Err(UnfitHash::Malformed(Scheme::FirebaseScrypt));
    for given in ["$firebase-scrypt$", "$firebase-scrypt$AA==$AA==", kept.as_phc()] {
        assert_eq!(adopt(given, Some(&parameters)), malformed, "{given}");
    }
    assert_eq!(format!("{parameters:?}"), "FirebaseParameters");
}

#[test]
fn parameters_that_are_wrong_are_told_without_the_key() {
    let with = |key: &str, cost: u8| {
        format!(
            r#"{{"base64_signer_key": "{key}", "base64_salt_separator": "", "rounds": 8,
                "mem_cost": {cost}}}"#
        )
    };
    for (text, why) in [
        (String::new(), "are no such JSON object (line 1)"),
        (r#"{"base64_signer_key": "c2VjcmV0"}"#.to_owned(), "are no such JSON object (line 1)"),
        (with("!", 14), "have no base64_signer_key in base64"),
        (with("AAAA", 30), "have a cost beyond what is taken"),
    ] {
        let error = FirebaseParameters::from_json(&text).expect_err(&text);
        assert_eq!(error, why);
    }
}

/// bcrypt has never looked at more, so that whoever knows as much comes in. What it did not look at
/// must not become part of the new hash.
#[test]
fn bcrypt_ends_at_72_bytes_and_proves_no_more() {
    let hash = adopted("$2b$04$tiMPLrFhH.qFGrVez2KtRO1oQEfvlpEH5HYyn9TKG6p/xnkHFssva");
    let of = |length: usize| "x".repeat(length);
    assert!(!fits(&hash, &of(71)));
    for (length, proves) in [(72, true), (73, false), (200, false)] {
        assert!(fits(&hash, &of(length)), "{length}");
        let password = Password::parse(&of(length)).expect("short enough");
        assert_eq!(hash.proves_all_of(&password), proves, "{length}");
    }
}

#[test]
fn what_costs_too_much_is_refused() {
    let salt_and_hash = "EDMmLEckdcSAtZEDyuGqkFaeX5g2JgXjQeg5IgfR5MZ7AR6pRqS6d";
    for (scheme, text) in [
        (Scheme::Bcrypt, format!("$2b$16${}", &salt_and_hash[..53])),
        (Scheme::Bcrypt, format!("$2b$31${}", &salt_and_hash[..53])),
        (Scheme::Bcrypt, format!("$2b$03${}", &salt_and_hash[..53])),
        (Scheme::Pbkdf2, format!("pbkdf2_sha256$5000001$salt${}", "A".repeat(43))),
        (Scheme::Pbkdf2, format!("$pbkdf2-sha256$i=2500001$c2FsdA${}", "A".repeat(86))),
        (Scheme::Pbkdf2, format!("$pbkdf2$4294967295$c2FsdA${}", "A".repeat(27))),
        (Scheme::Scrypt, format!("$scrypt$ln=30,r=8,p=1$c2FsdA${}", "A".repeat(43))),
        (Scheme::Scrypt, format!("$scrypt$ln=19,r=8,p=1$c2FsdA${}", "A".repeat(43))),
        (Scheme::Scrypt, format!("$scrypt$ln=255,r=8,p=1$c2FsdA${}", "A".repeat(43))),
        (Scheme::Scrypt, format!("$scrypt$ln=1,r=4294967295,p=1$c2FsdA${}", "A".repeat(43))),
        (Scheme::Scrypt, format!("$scrypt$ln=17,r=8,p=5$c2FsdA${}", "A".repeat(43))),
        (Scheme::Scrypt, format!("scrypt:1073741824:8:1$salt${}", "00".repeat(32))),
        (Scheme::Argon2, format!("$argon2id$v=19$m=524288,t=1,p=1$c2FsdHNhbHQ${}", "A".repeat(43))),
        (Scheme::Argon2, format!("$argon2id$v=19$m=262144,t=8,p=1$c2FsdHNhbHQ${}", "A".repeat(43))),
    ] {
        assert_eq!(adopt(&text, None), Err(UnfitHash::TooCostly(scheme)), "{text}");
    }
}

#[test]
fn what_no_program_writes_is_refused() {
    for text in
        ["", "x", "$", "$2x$05$", "$1$salt$hash", "{SSHA}AAAA", "5f4dcc3b5aa765d61d8327deb882cf99"]
    {
        assert_eq!(adopt(text, None), Err(UnfitHash::Unknown), "{text}");
    }
    let bent = vectors().flat_map(|(scheme, text)| {
        let cut = text[..text.rfind('$').expect("parts") + 9].to_owned();
        [cut, format!("{text}$"), format!("{text}\n"), format!("{text} ")]
            .map(|text| (scheme, text))
    });
    let weak = [
        (Scheme::Bcrypt, "$2b$5$W.Q4fUmMscHoLFaoHjFGIeDvPq1QrCxOHFcnm5Cb281MrasavWj32".to_owned()),
        (Scheme::Bcrypt, "$2b$+5$W.Q4fUmMscHoLFaoHjFGIeDvPq1QrCxOHFcnm5Cb281MrasavWj32".to_owned()),
        (Scheme::Bcrypt, format!("$2b$05$é{}", "a".repeat(51))),
        (Scheme::Pbkdf2, "pbkdf2_sha256$0$salt$AAAAAAAAAAAAAAAAAAAAAAAA".to_owned()),
        (Scheme::Pbkdf2, format!("pbkdf2_sha256$1000$salt${}", "A".repeat(40))),
        (Scheme::Pbkdf2, format!("$pbkdf2$1000$salt${}", "A".repeat(43))),
        (Scheme::Pbkdf2, format!("pbkdf2:sha1:1000$salt${}", "0".repeat(38))),
        (Scheme::Pbkdf2, format!("$pbkdf2-sha256$i=1000,l=33$c2FsdA${}", "A".repeat(43))),
        (Scheme::Pbkdf2, "pbkdf2_md5$1000$salt$AAAAAAAAAAAAAAAAAAAAAA==".to_owned()),
        (Scheme::Scrypt, "scrypt:1000:8:1$salt$00112233445566778899aabbccddeeff".to_owned()),
        (Scheme::Scrypt, "$scrypt$r=8,ln=10,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAA".to_owned()),
        (Scheme::Argon2, "$argon2id$v=19$m=8,t=1,p=1,data=AAAA$c2FsdHNhbHQ$AAAA".to_owned()),
    ];
    for (scheme, text) in bent.chain(weak) {
        assert_eq!(adopt(&text, None).err(), Some(UnfitHash::Malformed(scheme)), "{text}");
    }
}

#[test]
fn ours_is_outdated_only_where_its_work_has_risen() {
    let of = |memory_kib, passes| {
        let cost = Cost { memory_kib, passes, lanes: 1 };
        let text = Phc::ours(cost, vec![7; 16]).to_string();
        StoredHash::parse(&text).expect("ours")
    };
    let policy = Cost { memory_kib: 1024, passes: 2, lanes: 1 };
    assert!(of(1024, 1).is_outdated(policy) && of(512, 2).is_outdated(policy));
    assert!(!of(1024, 2).is_outdated(policy) && !of(4096, 2).is_outdated(policy));
    for (_, text) in vectors() {
        let hash = adopted(text);
        let is_ours = matches!(&hash, StoredHash::Ours(_));
        assert_eq!(hash.is_outdated(Cost { memory_kib: 64, passes: 1, lanes: 1 }), !is_ours);
    }
}

/// A hash of another system with one character that is another.
fn bent_vector() -> impl Strategy<Value = String> {
    let texts: Vec<&str> = vectors().map(|(_, text)| text).collect();
    let bend = |(text, at, char): (&str, prop::sample::Index, char)| {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        chars[at] = char;
        chars.into_iter().collect()
    };
    (prop::sample::select(texts), any::<prop::sample::Index>(), any::<char>()).prop_map(bend)
}

proptest! {
    /// Whatever is taken is kept as it was and read again; nothing panics, and nothing is told.
    #[test]
    fn any_text_is_taken_or_refused(
        text in prop_oneof![any::<String>(), bent_vector()]
    ) {
        match adopt(&text, None) {
            Ok(kept) => {
                prop_assert!(text.ends_with(kept.as_phc()));
                prop_assert!(StoredHash::parse(kept.as_phc()).is_ok());
                prop_assert_eq!(adopt(kept.as_phc(), None), Ok(kept));
            }
            Err(unfit) => {
                let sentence = unfit.to_string();
                prop_assert!(text.len() < 20 || !sentence.contains(&text));
            }
        }
    }
}
