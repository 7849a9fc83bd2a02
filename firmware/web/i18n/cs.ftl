skip = Přejít k obsahu
home = Na první stránku

front-heading = Toto zařízení vydává poštu
front-sentence = Vaše pošta je tady. V poštovním programu zadejte jako uživatelské jméno celou e-mailovou adresu; serverem příchozí pošty je toto zařízení (IMAP, port 993, SSL/TLS).

setup-heading = Zprovoznění zařízení
setup-intro = Toto zařízení zatím nikomu nepatří. Převezměte ho: doložte, že ho máte u sebe, a založte první poštovní schránku. Od té chvíle přijímá poštu.
setup-submit = Zprovoznit zařízení
problems-heading = Nejdřív je třeba opravit toto
proof-legend = Zařízení máte u sebe
code-label = Kód zařízení
code-hint = Deset písmen a číslic. Ukazuje je obrazovka zařízení.
ask-button = Raději stisknu tlačítko na zařízení
mailbox-legend = První poštovní schránka
address-label = E-mailová adresa
address-hint = V doméně, jejíž pošta má chodit do tohoto zařízení, například anna@example.com.
password-label = Heslo
password-hint = Aspoň osm znaků. Dobrých je několik slov, která si zapamatujete.
again-label = Totéž heslo ještě jednou

no-code = Chybí kód zařízení.
tries-left =
    { $n ->
        [one] To není kód tohoto zařízení. Zbývá jeden pokus.
        [few] To není kód tohoto zařízení. Zbývají { $n } pokusy.
       *[other] To není kód tohoto zařízení. Zbývá { $n } pokusů.
    }
locked =
    { $n ->
        [one] Chybných kódů bylo příliš mnoho. Zkuste to znovu za minutu.
        [few] Chybných kódů bylo příliš mnoho. Zkuste to znovu za { $n } minuty.
       *[other] Chybných kódů bylo příliš mnoho. Zkuste to znovu za { $n } minut.
    }
address-missing = Chybí e-mailová adresa.
address-catch-all = Adresa pro všechna jména domény být nemůže. Pojmenujte jednu schránku.
address-no-at = E-mailová adresa má podobu jméno@doména.
address-local-part = Část před zavináčem má 1 až 64 znaků.
address-domain = Část za zavináčem není jméno domény.
password-empty = Chybí heslo.
password-short = Heslo je kratší než 8 znaků.
password-long = Heslo je příliš dlouhé.
password-nul = V hesle je znak, který poštovní programy neumějí poslat.
password-one-character = Heslo je jediný znak stále dokola.
password-common = Takové heslo každý zkusí jako první.
password-in-address = Heslo je částí adresy.
password-again = Hesla se liší.

button-heading = Stiskněte tlačítko na zařízení
button-sentence = Stiskněte ho teď, krátce. Tato stránka si toho všimne sama.
button-left =
    { $n ->
        [one] Čeká ještě sekundu.
        [few] Čeká ještě { $n } sekundy.
       *[other] Čeká ještě { $n } sekund.
    }
button-back = Zpět k formuláři
button-pressed = Tlačítko bylo stisknuto. Kód není potřeba.
button-over = Tlačítko nebylo stisknuto včas. Zadejte kód, nebo o tlačítko požádejte znovu.
busy-heading = Na tlačítko čeká někdo jiný
busy-sentence = Na stisk tlačítka čeká stránka na počítači s adresou { $text }. Pokud to nejste vy, tlačítko netiskněte. Zkuste to znovu za dvě minuty, nebo zadejte kód zařízení.

claimed-heading = Zařízení už je zprovozněno
claimed-sentence = Někomu patří. Tato stránka se už nevrátí.
somebody-else-heading = Někdo byl rychlejší
somebody-else-sentence = Než váš formulář došel, zprovoznil zařízení někdo jiný. Z vašeho formuláře nezůstalo nic. Pokud to nebyl nikdo od vás, vraťte zařízení tlačítkem do výchozího stavu.

not-found-heading = Tady nic není
not-found-sentence = Taková stránka neexistuje.
wrong-method-heading = To tady nejde
wrong-method-sentence = O tuto stránku se takto žádat nedá.
too-large-heading = To je příliš mnoho
too-large-sentence = Formulář je větší, než smí být. Nic z něj nezůstalo.
no-form-heading = To nebyl formulář
no-form-sentence = Co došlo, nejde přečíst. Nic z toho nezůstalo.
too-slow-heading = Trvalo to příliš dlouho
too-slow-sentence = Požadavek nedošel včas. Zkuste to prosím znovu.
no-host-heading = Požadavek nejmenuje server
no-host-sentence = Neříká, kterému serveru patří.
other-host-heading = Míněn je jiný server
other-host-sentence = Zařízení nemá jméno, na které se někdo ptal. Použijte jeho vlastní jméno nebo adresu.
not-a-neighbour-heading = Jen ze sítě, ve které je zařízení
not-a-neighbour-sentence = Zařízení ještě není zprovozněno. Zprovoznit ho lze jen z počítače ve stejné síti.
cross-site-heading = Formulář nepřišel z tohoto zařízení
cross-site-sentence = Poslala ho cizí stránka, nebo program, který neříká, odkud je. Nic se nestalo.
fault-heading = Zařízení se to nepodařilo
fault-sentence = Je to jeho chyba a víc o ní říká jeho záznam. Nic se nezměnilo. Zkuste to prosím znovu.
