//! The rows of HTTP/2 where h2 does otherwise than the RFCs ask for, with what it does and why that may stay.

use crate::protocol::Exception;

/// Where h2 does otherwise.
pub(in crate::protocol::h2) const EXCEPTIONS: &[Exception] = &[
    (
        "method with a space",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "method with a NUL",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "empty method",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "pseudo field that is not known",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "pseudo field in upper case",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "pseudo field without a name",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    ("empty scheme", "1:200", "the scheme of a request decides nothing here"),
    ("query without a path", "1:200", "the `http` crate puts the path `/` before it"),
    ("fragment", "1:200", "the `http` crate leaves a fragment out of a target"),
    ("bytes beyond ASCII in a path", "1:200", "the `http` crate takes UTF-8 in a target"),
    (
        "name in upper case",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "name with a space",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "name with a colon",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "name with a NUL",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "name with a line feed",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "name beyond ASCII",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "empty name",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "NUL in a value",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "carriage return in a value",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "line feed in a value",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "request in a value",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    ("space before a value", "1:200", "h2 leaves spaces around a value to the handler"),
    ("tab after a value", "1:200", "h2 leaves spaces around a value to the handler"),
    ("fields of 100 KiB", "goaway ENHANCE_YOUR_CALM", "h2 ends a connection with so large a head"),
    ("2,000 fields", "goaway ENHANCE_YOUR_CALM", "h2 ends a connection with so large a head"),
    ("pseudo field in trailers", "1:200", "h2 leaves it out"),
    (
        "name in upper case in trailers",
        "goaway PROTOCOL_ERROR",
        "h2 ends the connection, not the stream alone, for a head that it cannot read",
    ),
    (
        "data after the end",
        "goaway PROTOCOL_ERROR",
        "h2 has forgotten a stream that has ended, and takes its frames for those of an idle one",
    ),
    (
        "trailers after the end",
        "goaway PROTOCOL_ERROR",
        "h2 has forgotten a stream that has ended, and takes its frames for those of an idle one",
    ),
    (
        "short ping",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of a frame's content by the general code",
    ),
    (
        "long ping",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of a frame's content by the general code",
    ),
    (
        "short priority",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of a frame's content by the general code",
    ),
    (
        "short reset",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of a frame's content by the general code",
    ),
    (
        "short goaway",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of a frame's content by the general code",
    ),
    (
        "settings that are cut",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of a frame's content by the general code",
    ),
    (
        "answer to settings with content",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of a frame's content by the general code",
    ),
    (
        "window of 2^31",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of a frame's content by the general code",
    ),
    (
        "short window",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of a frame's content by the general code",
    ),
    ("index 0", "goaway PROTOCOL_ERROR", "h2 names errors of compression by the general code"),
    (
        "index beyond the tables",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of compression by the general code",
    ),
    (
        "index of a name beyond the tables",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of compression by the general code",
    ),
    (
        "number without an end",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of compression by the general code",
    ),
    (
        "number that is cut",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of compression by the general code",
    ),
    (
        "text that is cut",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of compression by the general code",
    ),
    (
        "name that is cut",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of compression by the general code",
    ),
    (
        "Huffman coding that ends with zeros",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of compression by the general code",
    ),
    (
        "Huffman coding with the end of a text",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of compression by the general code",
    ),
    (
        "padding of Huffman coding that is too long",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of compression by the general code",
    ),
    (
        "size of the table beyond its limit",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of compression by the general code",
    ),
    (
        "size of the table after a field",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of compression by the general code",
    ),
    (
        "bad block of a stream that is refused",
        "goaway PROTOCOL_ERROR",
        "h2 names errors of compression by the general code",
    ),
    ("request in place of settings", "1:200", "h2 takes other frames before the settings"),
    ("ping in place of settings", "", "h2 takes other frames before the settings"),
    (
        "frame that is not known in place of settings",
        "",
        "h2 takes other frames before the settings",
    ),
];
