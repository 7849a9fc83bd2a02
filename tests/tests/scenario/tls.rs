//! What TLS the box speaks (T1–T5), told from outside: by a hand-written ClientHello, by rustls and by OpenSSL.

use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use e2e::client::hello::{
    Answer, ECDHE_ECDSA_AES_128_GCM, ECDHE_RSA_AES_128_GCM, HANDSHAKE_FAILURE, PROTOCOL_VERSION,
    REFUSED_SUITES, TLS_1_1, TLS_1_2, ask, client_hello,
};
use e2e::client::{PATIENCE, tls};
use e2e::runner::Outcome;
use e2e::{Account, Appliance, Conversation, Imap, Service, Smtp};
use rustls::{HandshakeKind, ProtocolVersion};

e2e::scenarios![shared
    t1_tls_1_1_is_refused_with_an_alert,
    t1_tls_1_2_and_1_3_are_spoken,
    t2_weak_suites_are_refused,
    t3_there_is_no_compression,
    t3_a_session_is_resumed,
    t3_renegotiation_is_refused,
    t5_any_name_or_none_gets_a_chain_that_verifies,
];

/// Asks the box on a service; on port 25 after STARTTLS.
fn hello(appliance: &dyn Appliance, service: Service, hello: &[u8]) -> std::io::Result<Answer> {
    let addr = appliance.addr(service);
    if service == Service::Smtp {
        let mut smtp = Smtp::ehlo(addr)?;
        let reply = smtp.command("STARTTLS")?;
        assert_eq!(reply.code, 220, "{reply:?}");
        return ask(&mut smtp.conversation.into_tcp()?, hello);
    }
    let mut tcp = TcpStream::connect(addr)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    ask(&mut tcp, hello)
}

/// T1
fn t1_tls_1_1_is_refused_with_an_alert(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let suites = [
        0xc013,
        0xc009,
        0x002f,
        ECDHE_RSA_AES_128_GCM,
        ECDHE_ECDSA_AES_128_GCM,
    ];
    for service in Service::ALL {
        for version in [0x0300, 0x0301, TLS_1_1] {
            let answer = hello(appliance, service, &client_hello(version, &suites, &[0], None))?;
            let Answer::Alert {
                level: 2,
                description,
            } = answer
            else {
                return Err(format!("{service:?} {version:04x}: {answer:?}").into());
            };
            assert!(
                [PROTOCOL_VERSION, HANDSHAKE_FAILURE].contains(&description),
                "{service:?}: {description}"
            );
        }
    }
    Ok(())
}

/// T1
fn t1_tls_1_2_and_1_3_are_spoken(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let name = appliance.host_name();
    for (version, spoken) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = tls::trusting_versions(appliance.ca_pem(), &[version])?;
        let mut smtp = appliance.smtp()?;
        smtp.start_tls(config.clone(), name)?;
        assert_eq!(smtp.command("EHLO client.example.org")?.code, 250);
        let negotiated = smtp.conversation.tls().and_then(|tls| tls.protocol_version());
        assert_eq!(negotiated, Some(spoken));
        let imap = Imap::connect(appliance.addr(Service::Imaps), config, name)?;
        assert_eq!(
            imap.conversation.tls().and_then(|tls| tls.protocol_version()),
            Some(spoken)
        );
    }
    Ok(())
}

/// T2
fn t2_weak_suites_are_refused(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    for service in Service::ALL {
        for (name, suite) in REFUSED_SUITES {
            let answer = hello(appliance, service, &client_hello(TLS_1_2, &[suite], &[0], None))?;
            let is_refused = matches!(
                answer,
                Answer::Alert {
                    level: 2,
                    description: HANDSHAKE_FAILURE
                }
            );
            assert!(is_refused, "{service:?}, {name}: {answer:?}");
        }
        // Next to a good one, the good one is taken.
        let mut suites: Vec<u16> = REFUSED_SUITES.iter().map(|(_, suite)| *suite).collect();
        suites.extend([ECDHE_ECDSA_AES_128_GCM, ECDHE_RSA_AES_128_GCM]);
        let answer = hello(appliance, service, &client_hello(TLS_1_2, &suites, &[0], None))?;
        let Answer::Hello {
            version: TLS_1_2,
            suite,
            ..
        } = answer
        else {
            return Err(format!("{service:?}: {answer:?}").into());
        };
        assert!(
            [ECDHE_ECDSA_AES_128_GCM, ECDHE_RSA_AES_128_GCM].contains(&suite),
            "{suite:04x}"
        );
    }
    Ok(())
}

/// T3: RFC 7525 §3.3
fn t3_there_is_no_compression(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    for service in Service::ALL {
        let suites = [ECDHE_ECDSA_AES_128_GCM, ECDHE_RSA_AES_128_GCM];
        let answer = hello(appliance, service, &client_hello(TLS_1_2, &suites, &[1, 0], None))?;
        assert!(
            matches!(answer, Answer::Hello { compression: 0, .. }),
            "{service:?}: {answer:?}"
        );
    }
    Ok(())
}

/// T3
fn t3_a_session_is_resumed(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let name = appliance.host_name();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = tls::trusting_versions(appliance.ca_pem(), &[version])?;
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut imap = Imap::connect(appliance.addr(Service::Imaps), config.clone(), name)?;
            // TLS 1.3 tickets come with the first octets behind the handshake.
            imap.ok("NOOP")?;
            kinds.push(imap.conversation.tls().and_then(|tls| tls.handshake_kind()));
            imap.ok("LOGOUT")?;
        }
        assert_eq!(
            kinds,
            [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)],
            "{version:?}"
        );
    }
    Ok(())
}

/// T3
fn t3_renegotiation_is_refused(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let addr = appliance.addr(Service::Imaps);
    let mut client = Command::new("timeout")
        // A request that is ignored is refused as well; s_client would wait for ever.
        .args([
            "60",
            "openssl",
            "s_client",
            "-tls1_2",
            "-connect",
            &addr.to_string(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("openssl: {error}"))?;
    // A line that is the letter R makes s_client ask for a renegotiation.
    let mut stdin = client.stdin.take().ok_or("openssl has a standard input")?;
    stdin.write_all(b"R\n")?;
    stdin.flush()?;
    let output = client.wait_with_output()?;
    drop(stdin);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("RENEGOTIATING"), "openssl did not ask: {said}");
    assert!(
        said.contains("no renegotiation") || !output.status.success(),
        "{said}"
    );
    let handshakes = said.matches("SSL handshake has read").count();
    assert!(handshakes <= 1, "a second handshake was made: {said}");
    Ok(())
}

/// T5
fn t5_any_name_or_none_gets_a_chain_that_verifies(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let own = appliance.host_name();
    let mut chains = Vec::new();
    // An IP address as the name makes rustls send no SNI.
    for name in [own, "unknown.example", "xn--unknown.example", "127.0.0.1"] {
        let mut conversation = Conversation::connect(appliance.addr(Service::Imaps))?;
        let chain = tls::chain(&mut conversation, name)?;
        assert!(!chain.is_empty(), "{name} got no certificate");
        assert!(conversation.line()?.starts_with(b"* OK"), "{name}");
        chains.push(chain);
    }
    assert!(
        chains.iter().all(|chain| chain == &chains[0]),
        "the default certificate differs"
    );
    // Verified by OpenSSL, with nothing but the root in hand.
    let folder = tempfile::tempdir()?;
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, appliance.ca_pem())?;
    for service in Service::ALL {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-connect",
            &appliance.addr(service).to_string(),
            "-servername",
            own,
        ]);
        command
            .args(["-verify_hostname", own, "-verify_return_error", "-CAfile"])
            .arg(&ca);
        if service == Service::Smtp {
            command.args(["-starttls", "smtp"]);
        }
        let output = e2e::tool::run(command.stdin(Stdio::null()))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("Verify return code: 0 (ok)"), "{service:?}: {said}");
    }
    Ok(())
}
