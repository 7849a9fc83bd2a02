skip = Skip to the content
home = To the first page

front-heading = This box serves mail
front-sentence = Your mail is here. Set up your mail program with your full e-mail address as the user name; this box is the server for incoming mail (IMAP, port 993, SSL/TLS).

setup-heading = Set up this box
setup-intro = This box belongs to nobody yet. Make it yours: prove that it is in your hands, and name the first mailbox. From then on it takes mail.
setup-submit = Set up the box
problems-heading = This has to be put right first
proof-legend = The box is in your hands
code-label = Claim code
code-hint = Ten letters and digits. The screen of the box shows them.
ask-button = Press the button of the box instead
mailbox-legend = The first mailbox
address-label = E-mail address
address-hint = In the domain whose mail is to come to this box, such as anna@example.com.
password-label = Password
password-hint = Eight characters at least. A few words that you can remember are good.
again-label = The same password again

no-code = The claim code is missing.
tries-left =
    { $n ->
        [one] That is not the claim code of this box. There is one more try.
       *[other] That is not the claim code of this box. There are { $n } more tries.
    }
locked =
    { $n ->
        [one] There were too many wrong codes. Try again in one minute.
       *[other] There were too many wrong codes. Try again in { $n } minutes.
    }
address-missing = The e-mail address is missing.
address-catch-all = An address for all names of a domain cannot be. Name one mailbox.
address-no-at = An e-mail address has the form name@domain.
address-local-part = The part before the @ has 1 to 64 characters.
address-domain = The part behind the @ is not a domain name.
password-empty = The password is missing.
password-short = The password is shorter than 8 characters.
password-long = The password is too long.
password-nul = The password has a character that mail programs cannot send.
password-one-character = The password is one character over and over.
password-common = The password is one that everybody tries first.
password-in-address = The password is a part of the address.
password-again = The two passwords differ.

button-heading = Press the button of the box
button-sentence = Press the button shortly, now. This page notices it by itself.
button-left =
    { $n ->
        [one] It waits for one more second.
       *[other] It waits for { $n } more seconds.
    }
button-back = Back to the form
button-pressed = The button was pressed. No code is needed.
button-over = The button was not pressed in time. Enter the code, or ask for the button again.
busy-heading = Somebody else waits for the button
busy-sentence = The set-up page on the computer with the address { $text } waits for the button to be pressed. Do not press it unless that is you. Try again in two minutes, or enter the claim code.

claimed-heading = The box is set up already
claimed-sentence = It belongs to somebody. The set-up page does not come back.
somebody-else-heading = Somebody was faster
somebody-else-sentence = While your form was on its way, somebody else set up this box. Nothing of your form was kept. If that was not somebody of yours, reset the box with its button.

not-found-heading = There is nothing here
not-found-sentence = This page does not exist.
wrong-method-heading = That is not possible here
wrong-method-sentence = This page cannot be asked for in that way.
too-large-heading = That is too much
too-large-sentence = The form is larger than it may be. Nothing of it was kept.
no-form-heading = That was no form
no-form-sentence = What arrived cannot be read. Nothing of it was kept.
too-slow-heading = That took too long
too-slow-sentence = The request did not arrive in time. Please try again.
no-host-heading = The request names no server
no-host-sentence = It does not say which server it is for.
other-host-heading = Another server is meant
other-host-sentence = This box does not have the name that was asked for. Use its own name or its address.
not-a-neighbour-heading = Only from the network of the box
not-a-neighbour-sentence = This box is not set up yet. That can be done only from a computer in the same network.
cross-site-heading = The form did not come from this box
cross-site-sentence = It was sent by a page of somebody else, or by a program that does not say where it comes from. Nothing was done.
fault-heading = The box could not do it
fault-sentence = It is the fault of the box, and its log says more. Nothing was changed. Please try again.
