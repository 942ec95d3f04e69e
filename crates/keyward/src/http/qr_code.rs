//! QR codes as SVG: one path, without script, style or reference to anything else.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// The picture of a text, dark on white with the quiet zone that readers need; `None` for a text
/// that is too long for a QR code. It scales to whatever room it is given.
pub(super) fn svg(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            // Nothing is written to but a string, which does not fail.
            let _ = write!(path, "M{},{}h1v1h-1z", x + QUIET, y + QUIET);
        }
    }
    let size = code.size() + 2 * QUIET;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" \
         shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"QR code\">\
         <path fill=\"#fff\" d=\"M0,0h{size}v{size}h-{size}z\"/>\
         <path fill=\"#000\" d=\"{path}\"/></svg>"
    ))
}

/// Modules around the code (ISO/IEC 18004).
const QUIET: i32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_picture_and_nothing_else() {
        let picture = svg("otpauth://totp/x?secret=<script>&\"'").expect("a picture");
        assert!(picture.starts_with(r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 "#));
        for foreign in ["script", "href", "style", "url(", "&", "'"] {
            assert!(!picture.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_text_beyond_all_codes_has_none() {
        assert!(svg(&"x".repeat(4000)).is_none());
    }
}
