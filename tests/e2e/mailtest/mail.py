"""Writing and sending messages as people do."""

from __future__ import annotations

import smtplib
import ssl
import uuid
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from .deployment import Deployment, Person
from .smtp import Dialogue, Reply, plain
from .tls import any_certificate

STRANGER = "stranger@outside.example"


def message_id() -> str:
    return f"<{uuid.uuid4()}@client.example>"


def compose(
    *,
    to: str,
    sender: str = STRANGER,
    subject: str = "A message",
    body: str = "Hello.\n",
    headers: Sequence[tuple[str, str]] = (),
) -> EmailMessage:
    """A message that can be told from every other by its Message-ID; `headers` are added to the usual ones."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = message_id()
    for name, value in headers:
        message[name] = value
    message.set_content(body)
    return message


def trace(message: EmailMessage) -> list[str]:
    """Its Received headers, the latest first."""
    return [str(line) for line in message.get_all("Received", [])]


class Outside:
    """Some other mail server, which delivers on port 25."""

    def __init__(self, deployment: Deployment) -> None:
        self.endpoint = deployment.port("smtp")

    def send(
        self,
        to: str | Sequence[str],
        *,
        envelope_sender: str = STRANGER,
        message: EmailMessage | None = None,
        subject: str = "A message",
        body: str = "Hello.\n",
        headers: Sequence[tuple[str, str]] = (),
    ) -> EmailMessage:
        """Deliver a message to the recipients, every one of which must be accepted; returns what was sent."""
        recipients = [to] if isinstance(to, str) else list(to)
        message = message or compose(to=", ".join(recipients), subject=subject, body=body, headers=headers)
        with smtplib.SMTP(
            self.endpoint.host, self.endpoint.port, local_hostname="mx.outside.example", timeout=30
        ) as mx:
            if mx.has_extn("starttls") or (mx.ehlo()[0] == 250 and mx.has_extn("starttls")):
                mx.starttls(context=any_certificate())
            refused = mx.sendmail(envelope_sender, recipients, message.as_bytes())
        assert not refused, f"refused: {refused}"
        return message

    def ask(self, recipient: str, *, envelope_sender: str = STRANGER, size: int | None = None) -> Reply:
        """What the server says at RCPT to this recipient (or already at MAIL, when it refuses there)."""
        with Dialogue(self.endpoint, helo="mx.outside.example") as dialogue:
            dialogue.ehlo()
            parameter = "" if size is None else f" SIZE={size}"
            reply = dialogue.command(f"MAIL FROM:<{envelope_sender}>{parameter}")
            if reply.ok:
                reply = dialogue.command(f"RCPT TO:<{recipient}>")
            dialogue.command("QUIT")
            return reply


class RefusedError(AssertionError):
    """The submission server refused; at which step and how."""

    def __init__(self, step: str, reply: Reply) -> None:
        super().__init__(f"refused at {step}: {reply.code} {reply.text}")
        self.step = step
        self.reply = reply


class MailProgram:
    """Somebody's mail program, which submits on 465 or 587."""

    def __init__(self, deployment: Deployment, person: Person, service: str = "submissions") -> None:
        self.deployment = deployment
        self.person = person
        self.service = service

    def connect(self) -> smtplib.SMTP:
        """Encrypted and logged in."""
        endpoint = self.deployment.port(self.service)
        name = "laptop.home.example"
        context: ssl.SSLContext = any_certificate()
        client: smtplib.SMTP
        if self.service == "submissions":
            client = smtplib.SMTP_SSL(endpoint.host, endpoint.port, local_hostname=name, timeout=60, context=context)
        else:
            client = smtplib.SMTP(endpoint.host, endpoint.port, local_hostname=name, timeout=60)
            client.starttls(context=context)
        client.ehlo()
        code, text = client.docmd("AUTH", f"PLAIN {plain(self.person)}")
        if code != 235:
            raise RefusedError("AUTH", _reply(code, text))
        return client

    def send(
        self,
        to: str | Sequence[str],
        *,
        envelope_sender: str | None = None,
        message: EmailMessage | None = None,
        subject: str = "A message",
        body: str = "Hello.\n",
        headers: Sequence[tuple[str, str]] = (),
        data: bytes | None = None,
    ) -> EmailMessage:
        """Submit a message; RefusedError says at which step the server did not want it."""
        recipients = [to] if isinstance(to, str) else list(to)
        message = message or compose(
            to=", ".join(recipients), sender=self.person.address, subject=subject, body=body, headers=headers
        )
        with self.connect() as client:
            sender = self.person.address if envelope_sender is None else envelope_sender
            _demand("MAIL", *client.mail(sender))
            for recipient in recipients:
                _demand("RCPT", *client.rcpt(recipient))
            try:
                _demand("DATA", *client.data(data or message.as_bytes()))
            except smtplib.SMTPDataError as error:
                raise RefusedError("DATA", _reply(error.smtp_code, error.smtp_error)) from error
        return message


def _demand(step: str, code: int, text: bytes) -> None:
    if not 200 <= code < 400:
        raise RefusedError(step, _reply(code, text))


def _reply(code: int, text: bytes | str) -> Reply:
    decoded = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
    return Reply(code, tuple(decoded.splitlines()))
