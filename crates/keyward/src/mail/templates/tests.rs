use keyward_core::email::Email;

use super::*;

/// What strangers would like to see in a mail of ours.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "</p><a href=\"https://evil.example\">Click</a>",
    "\"onmouseover=\"alert(1)",
    "{{ link }}{% if name %}",
    "Ada\r\nBcc: victim@example.org",
    "Ada\n\n<html>",
    "gro.elpmaxe\u{202e}moc.live",
    "'\"><img src=x onerror=alert(1)>",
];

fn policy() -> Policy {
    Policy::new("https://auth.example.org")
}

fn rendered(letter: &Letter) -> Message {
    let id = MailId::from_bytes([1; 16]);
    Templates::built_in(&policy()).render(letter, id, EPOCH).expect("our own templates")
}

fn letter(name: Option<&str>, mail: Mail) -> Letter {
    Letter { to: "ada@example.org".to_owned(), name: name.map(str::to_owned), mail }
}

fn every_mail() -> Vec<Mail> {
    let at = Timestamp::from_rfc3339("2026-11-21T11:20:59Z").expect("a time");
    let occasion = Occasion::new(at, Some("192.0.2.7".to_owned()));
    let token = "kwo_token".to_owned();
    vec![
        Mail::AddressChanged(occasion.clone()),
        Mail::AddressTaken,
        Mail::NewDevice(Occasion {
            device: Some("Firefox on Linux".to_owned()),
            ..occasion.clone()
        }),
        Mail::PasswordChanged(occasion.clone()),
        Mail::RecoveryCodesReplaced(occasion.clone()),
        Mail::ResetPassword { token: token.clone() },
        Mail::SecondFactorDisabled(occasion.clone()),
        Mail::SecondFactorEnabled(occasion),
        Mail::VerifyAddress { token },
    ]
}

#[test]
fn every_mail_has_its_templates() {
    let names: Vec<_> = every_mail().iter().map(Mail::name).collect();
    assert_eq!(names, Mail::NAMES);
    assert_eq!(BUILT_IN.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), Mail::NAMES);
    Templates::built_in(&policy()).try_all().expect("every mail renders");
}

#[test]
fn only_the_mails_with_a_link_hold_a_token() {
    for mail in every_mail() {
        let message = rendered(&letter(Some("Ada"), mail.clone()));
        for body in [&message.text, &message.html] {
            let has_link = matches!(mail, Mail::ResetPassword { .. } | Mail::VerifyAddress { .. });
            assert_eq!(body.contains("token="), has_link, "{mail:?}");
            assert!(body.contains("Ada") && body.contains("ada@example.org"), "{mail:?}");
        }
        assert!(!message.subject.contains("token="), "{mail:?}");
    }
}

#[test]
fn links_lead_to_the_configured_pages() {
    let token = "kwo_token".to_owned();
    let message = rendered(&letter(None, Mail::ResetPassword { token: token.clone() }));
    let link = "https://auth.example.org/reset-password#token=kwo_token";
    assert!(message.text.lines().any(|line| line == link), "{}", message.text);
    assert!(message.html.replace("&#x2f;", "/").contains(&format!("href=\"{link}\"")));
    let message = rendered(&letter(None, Mail::VerifyAddress { token }));
    assert!(message.text.contains("\nhttps://auth.example.org/verify-email#token=kwo_token\n"));
}

#[test]
fn notices_say_when_and_where_from() {
    let mail = every_mail().remove(2);
    let text = rendered(&letter(None, mail)).text;
    for part in ["on 2026-11-21 11:20 UTC", "with Firefox on Linux", "address 192.0.2.7"] {
        assert!(text.contains(part), "{text}");
    }
}

/// Names and addresses are text in HTML, and no part of a header.
#[test]
fn what_strangers_write_stays_text() {
    for hostile in HOSTILE {
        for mail in every_mail() {
            let to = Letter { to: (*hostile).to_owned(), ..letter(Some(hostile), mail) };
            let message = rendered(&to);
            for mark in ["<script", "<img", "<a href=\"https://evil", "\"onmouseover", "<html>"] {
                assert!(!message.html.contains(mark), "{}", message.html);
            }
            assert!(!message.subject.chars().any(misleads), "{:?}", message.subject);
        }
    }
}

/// Such an address is none to begin with, but the key of an account could come from elsewhere.
#[test]
fn an_operators_subject_cannot_be_broken_by_a_value() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "Subject: For {{ name }}\n\nHello";
    std::fs::write(folder.path().join("address_taken.txt"), text).expect("written");
    let templates = Templates::built_in(&policy()).with_folder(folder.path()).expect("good");
    let letter = letter(Some("Ada\r\nBcc: victim@example.org\u{202e}"), Mail::AddressTaken);
    let message = templates.render(&letter, MailId::from_bytes([1; 16]), EPOCH).expect("renders");
    assert_eq!(message.subject, "For AdaBcc: victim@example.org");
    assert_eq!(message.text, "Hello");
    assert!(Email::parse("ada\r\n@example.org").is_none());
}

#[test]
fn a_folder_stands_in_file_by_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let html = "<b>{{ link }}</b> {{ name }}";
    std::fs::write(folder.path().join("reset_password.html"), html).expect("written");
    std::fs::write(folder.path().join("README.md"), "not a template").expect("written");
    let templates = Templates::built_in(&policy()).with_folder(folder.path()).expect("good");
    let letter = letter(Some("<i>"), Mail::ResetPassword { token: "kwo_token".to_owned() });
    let message = templates.render(&letter, MailId::from_bytes([1; 16]), EPOCH).expect("renders");
    assert!(message.html.starts_with("<b>") && message.html.ends_with("</b> &lt;i&gt;"));
    assert!(message.text.contains("asked for a new password"));
}

#[test]
fn what_cannot_be_used_is_said_before_a_mail_is_due() {
    for (name, text, complaint) in [
        ("reset_password.txt", "Hello", "does not begin with a line like"),
        ("reset_password.html", "{{ lnik }}", "reset_password.html cannot be used (line 1: undef"),
        ("reset_password.html", "<p>\n{% if %}", "reset_password.html cannot be used (line 2: syn"),
        (
            "reset_password.txt",
            "Subject: x\n\n\n{{ lnik }}",
            "reset_password.txt cannot be used (line 4: ",
        ),
        (
            "reset_password.txt",
            "Subject: x\r\n\r\n{{",
            "reset_password.txt cannot be used (line 3: ",
        ),
        ("password_reset.txt", "Subject: x\n", "is the template of no mail"),
        (
            "address_taken.txt",
            "Subject: {{ token }}\n",
            "address_taken.txt cannot be used (line 1: ",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(name), text).expect("written");
        let refused = Templates::built_in(&policy()).with_folder(folder.path());
        let why = refused.expect_err(text).to_string();
        assert!(
            why.contains(complaint) && why.contains(&*folder.path().to_string_lossy()),
            "{why}"
        );
    }
    let missing = Templates::built_in(&policy()).with_folder(Path::new("/nowhere"));
    assert!(missing.is_err_and(|error| error.to_string().contains("/nowhere cannot be read")));
}

#[test]
fn a_mistake_is_found_wherever_values_are_there_or_not() {
    for (name, text, complaint) in [
        ("reset_password.html", "{{ link }}{% if name %}{{ nmae }}{% endif %}", "value: nmae)"),
        ("new_device.html", "{% if ip %}{{ pi }}{% endif %}", "value: pi)"),
        ("new_device.html", "{% if ip and not device %}{{ dev }}{% endif %}", "value: dev)"),
        ("new_device.html", "{{ nmae }}{{ pi }}{{ range }}{{ ip }}", "value: nmae, pi)"),
        ("new_device.html", "{{ ip.country }}", "(line 1: undefined value)"),
        // What a mail of the kind never has.
        ("address_taken.html", "{{ link }}", "value: link)"),
        ("address_changed.html", "{{ ip }}", "value: ip)"),
        ("password_changed.html", "{{ device }}", "value: device)"),
        // What nobody could use.
        ("verify_address.txt", "Subject: x\n{{ public_url }}", "txt has no `{{ link }}` for"),
        (
            "reset_password.txt",
            "Subject: x\n{% if name %}{{ link }}{% endif %}",
            "txt has no `{{ link }}` for",
        ),
        ("reset_password.html", "<a href=\"{{ reset_url }}\">", "html has no `{{ link }}` for"),
        ("address_taken.txt", "Subject:\nHello", "txt has an empty subject"),
        ("address_taken.txt", "Subject: {{ name }}\nHello", "txt has an empty subject"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(name), text).expect("written");
        let refused = Templates::built_in(&policy()).with_folder(folder.path());
        let why = refused.expect_err(text).to_string();
        assert!(why.contains(name) && why.contains(complaint), "{why}");
    }
}

#[test]
fn what_there_is_none_of_is_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let html = "[{{ name }}{{ ip|upper }}{{ device ~ '' }}{% if name %}Hello{% endif %}]";
    std::fs::write(folder.path().join("new_device.html"), html).expect("written");
    let templates = Templates::built_in(&policy()).with_folder(folder.path()).expect("good");
    let letter = letter(None, Mail::NewDevice(Occasion::new(EPOCH, None)));
    let message = templates.render(&letter, MailId::from_bytes([1; 16]), EPOCH).expect("renders");
    assert_eq!(message.html, "[]");
}
