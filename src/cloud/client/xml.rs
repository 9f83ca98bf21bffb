//! The gateway's errors in XML.

use roxmltree::{Document, Node};

/// Maximum length of such an error. A longer body is something else, whose parsing could take long.
const MAX_LENGTH: usize = 64 << 10;

/// What an error in XML says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct XmlError {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) request_id: Option<String>,
}

/// Reads `<Error>`, also within `<ErrorResponse>`. `None` for everything else, such as a page, or a document with a DTD.
pub(super) fn error(body: &[u8]) -> Option<XmlError> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_LENGTH)?.trim();
    let document = Document::parse(text.strip_prefix('\u{feff}').unwrap_or(text)).ok()?;
    let root = document.root_element();
    let error = match root.tag_name().name() {
        "Error" => root,
        "ErrorResponse" => child(root, "Error")?,
        _ => return None,
    };
    let field = |of: Node<'_, '_>, name: &str| child(of, name)?.text().map(|text| text.trim().to_owned());
    Some(XmlError {
        code: field(error, "Code"),
        message: field(error, "Message"),
        request_id: field(error, "RequestId").or_else(|| field(root, "RequestId")),
    })
}

fn child<'a, 'input>(of: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    of.children().find(|it| it.is_element() && it.tag_name().name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<(Option<String>, Option<String>, Option<String>)> {
        error(body.as_bytes()).map(|it| (it.code, it.message, it.request_id))
    }

    #[test]
    fn errors_of_every_shape_are_read() {
        let text = |text: &str| Some(text.to_owned());
        let plain = Some((text("Forbidden.Action"), text("a & b < c"), text("R1")));
        for body in [
            "<Error><Code>Forbidden.Action</Code><Message>a &amp; b &#60; c</Message><RequestId>R1</RequestId></Error>",
            "\u{feff}<?xml version='1.0' encoding='UTF-8'?>\n<Error xmlns='urn:a' id='7'>\n <RequestId>R1</RequestId><!-- <Code>X</Code> -->\
             <Code> Forbidden.Action </Code><Message><![CDATA[a & b < c]]></Message></Error>\n",
            "<ErrorResponse><Error><Code>Forbidden.Action</Code><Message>a &amp; b &lt; c</Message></Error><RequestId>R1</RequestId></ErrorResponse>",
        ] {
            assert_eq!(read(body), plain, "{body}");
        }
        let nested = "<Error><Detail><Code>Forbidden</Code></Detail></Error>";
        assert_eq!(read(nested), Some((None, None, None)), "only its own fields");
    }

    #[test]
    fn nothing_else_is_an_error() {
        for body in [
            "",
            "<html><body><Error><Code>Forbidden</Code></Error></body></html>",
            r#"{"message":"<Error><Code>Forbidden</Code></Error>"}"#,
            "<Error><Code>Forbidden</Code>",
            "<Error><Code>Forbidden</Code></Error><Error/>",
            "<!DOCTYPE Error [<!ENTITY a 'Forbidden'>]><Error><Code>&a;</Code></Error>",
            "text before <Error><Code>Forbidden</Code></Error>",
        ] {
            assert_eq!(read(body), None, "{body}");
        }
    }
}
