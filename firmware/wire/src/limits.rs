//! Every bound of the box, each with its source. Going over one is an ordinary path with a reply.

use std::time::Duration;

// Sizes of messages

/// S0: the largest message, CRLF line ends included: an attachment of 35 MiB in base64 with room to spare.
pub const MESSAGE_OCTETS_MAX: u64 = 52_428_800;
/// A body up to this size is kept in memory until it is committed; a larger one goes to a file as it arrives.
pub const BODY_IN_MEMORY_OCTETS_MAX: usize = 256 * 1024;
/// A message over this size waits for the box's one check buffer before it is parsed.
pub const CHECK_WITHOUT_WAITING_OCTETS_MAX: u64 = 1024 * 1024;
/// How many messages may wait for the check buffer; the next one gets `451 4.3.2`.
pub const CHECK_QUEUE_MAX: usize = 16;
/// AS11: the header section of a message.
pub const HEADER_SECTION_OCTETS_MAX: usize = 1024 * 1024;
/// R4, RFC 5321 §6.3: more Received fields than this are a loop.
pub const RECEIVED_FIELDS_MAX: usize = 100;
/// R4: more expansions of redirects than this are a loop.
pub const REDIRECT_EXPANSIONS_MAX: usize = 10;
/// R3: targets of one redirect.
pub const REDIRECT_TARGETS_MAX: usize = 100;
/// The box's own prefix of a delivered message: Return-Path, Delivered-To, Received.
pub const DELIVERY_HEADER_OCTETS_MAX: usize = 4096;

// SMTP

/// A command line with its CRLF. RFC 5321 §4.5.3.1.4 asks for 512; parameters of extensions add to
/// it (SIZE 26, SMTP AUTH 500, DSN 500), and RFC 4954 §4 wants 12 288 for an AUTH response.
pub const SMTP_COMMAND_OCTETS_MAX: usize = 2048;
/// Recipients of one transaction. RFC 5321 §4.5.3.1.8 asks for at least 100; Postfix takes 1 000.
pub const SMTP_RECIPIENTS_MAX: usize = 1_000;
/// RFC 5321 §4.5.3.1.1.
pub const LOCAL_PART_OCTETS_MAX: usize = 64;
/// RFC 5321 §4.5.3.1.2.
pub const DOMAIN_OCTETS_MAX: usize = 255;
/// RFC 5321 §4.5.3.1.3: a path with its angle brackets.
pub const PATH_OCTETS_MAX: usize = 256;
/// Commands that were not understood or out of order, before the session is ended with 421.
pub const SMTP_MISTAKES_MAX: usize = 20;
/// C7: from this unknown recipient on, answers come with a delay.
pub const SMTP_UNKNOWN_RECIPIENTS_MAX: usize = 10;
/// C7: how long such an answer is held back.
pub const SMTP_UNKNOWN_RECIPIENT_DELAY: Duration = Duration::from_secs(2);
/// C7: so many answers of a session are held back, a minute in all. One write holds some thousand commands, and
/// whoever sent them and left must not keep a connection for hours (D17).
pub const SMTP_UNKNOWN_RECIPIENT_DELAYS_MAX: usize = 30;
/// RFC 5321 §4.5.3.2.7: a server waits at least 5 minutes for the next command.
pub const SMTP_COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
/// D17: a client that says something now and then and brings no message for this long is let go. Postfix keeps
/// an idle connection for its next message 5 minutes at most.
pub const SMTP_WITHOUT_MESSAGE_MAX: Duration = Duration::from_mins(30);
/// RFC 5321 §4.5.3.2.5: a client may take 3 minutes for a block of data; we wait longer.
pub const SMTP_DATA_TIMEOUT: Duration = Duration::from_secs(300);
/// D17: behind `DATA` a client that sends less than this on average, [`SMTP_DATA_TIMEOUT`] granted, is let
/// go. A telephone on GPRS manages 1 000.
pub const SMTP_DATA_OCTETS_PER_SECOND_MIN: u64 = 256;

// IMAP

/// AI1: a command before login, without its literals.
pub const IMAP_LINE_OCTETS_MAX_BEFORE_LOGIN: usize = 8 * 1024;
/// RFC 7162 §4 recommends to accept 8 192 octets; lists of UIDs grow longer (Dovecot takes 64 KiB).
pub const IMAP_LINE_OCTETS_MAX: usize = 64 * 1024;
/// AI1: a literal before login.
pub const IMAP_LITERAL_OCTETS_MAX_BEFORE_LOGIN: u64 = 1024;
/// A literal that is an argument (a mailbox name, a search string), not a message.
pub const IMAP_LITERAL_OCTETS_MAX: u64 = 16 * 1024;
/// AI5: parentheses and keys inside keys after login. Before it nothing nests (AI1): only the name of a command that
/// has to wait for the login is read.
pub const IMAP_NESTING_MAX: usize = 50;
/// Commands that were not understood, before the session is ended with BYE.
pub const IMAP_MISTAKES_MAX: usize = 20;
/// RFC 9051 §5.4: at least 30 minutes.
pub const IMAP_AUTOLOGOUT: Duration = Duration::from_secs(30 * 60 + 30);

// Web

/// The head of a request, all fields together; nginx takes 32 KiB, browsers send 1 to 4.
pub const HTTP_HEAD_OCTETS_MAX: usize = 16 * 1024;
/// Fields of a request.
pub const HTTP_FIELDS_MAX: usize = 100;
/// D17: the time a request's head may take, one octet after the other.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// D17: a connection on which nothing is asked for this long is let go.
pub const HTTP_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The time a request may take from its head to its answer, with its body and the hash of a password.
pub const HTTP_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests of one HTTP/2 connection at once.
pub const HTTP2_STREAMS_MAX: u32 = 32;
/// The body of a form without a file.
pub const FORM_OCTETS_MAX: usize = 16 * 1024;
/// AX2: wrong claim codes, before nobody may try for [`CLAIM_LOCK_TIME`].
pub const CLAIM_TRIES_MAX: u32 = 5;
/// AX2.
pub const CLAIM_LOCK_TIME: Duration = Duration::from_mins(10);

// Connections

/// D17: the time a connection has to log in, on ports where nothing is possible without.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// The time for a TLS handshake.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// D17: a peer that takes no octet for this long while some are owed is let go.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(120);
/// D17: connections at once, on all ports.
pub const CONNECTIONS_MAX: usize = 1_000;
/// D17: connections at once from one address (IPv6: /64).
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 30;
/// The octets a pump reads ahead of what the session has used. A session that wants a longer line
/// takes it in pieces.
pub const INPUT_OCTETS_MAX: usize = 64 * 1024;
/// The octets a pump reads at once.
pub const READ_OCTETS: usize = 16 * 1024;
/// What may be owed before the pump writes it out although the session could go on.
pub const OUTPUT_OCTETS_MAX: usize = 32 * 1024;
/// The output buffer that an idle connection keeps.
pub const OUTPUT_OCTETS_KEPT: usize = 4 * 1024;

// Login

/// L5: failures from one address within [`LOGIN_FAILURES_WINDOW`] before it has to wait.
pub const LOGIN_FAILURES_MAX: u32 = 10;
/// L5.
pub const LOGIN_FAILURES_WINDOW: Duration = Duration::from_secs(600);
/// A password or login name; longer ones are refused without being hashed.
pub const PASSWORD_OCTETS_MAX: usize = 1024;
/// Argon2 is a memory bomb on a small box: it runs at most twice at once.
pub const PASSWORD_HASHES_AT_ONCE: usize = 2;
/// Logins that may wait for one of these.
pub const PASSWORD_HASH_QUEUE_MAX: usize = 64;

// MIME (AS12, AS13)

/// AS12: parts deeper than this are an opaque leaf.
pub const MIME_DEPTH_MAX: usize = 50;
/// AS12: parts of one message.
pub const MIME_PARTS_MAX: usize = 1_000;
