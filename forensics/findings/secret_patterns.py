"""How secrets look: names of variables, forms of tokens and keys, files that hold credentials."""

from __future__ import annotations

import re

_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_.-])(?:pass(?:word|wd|phrase|code)?|pwd|secrets?|token|credentials?|api[_.-]?key|apikey"
    r"|access[_.-]?key(?:[_.-]?id)?|secret[_.-]?key"
    r"|private[_.-]?key|encryption[_.-]?key|signing[_.-]?key|auth[_.-]?key|master[_.-]?key|jwt[_.-]?key|account[_.-]?key"
    r"|connection[_.-]?string)(?:$|[_.-]?\d*$|[_.-](?:base|value|text|plain|base64|hash|prod|dev|test|staging)$)"
    r"|(?:password|passwd|secret|apikey|token)$"
)
_HARMLESS_NAME = re.compile(
    r"(?i)(?:^|_)(?:file|path|dir|url|uri|host|port|policy|length|min|max|expir\w*|ttl|timeout|age|enabled?|disabled?|required?|"
    r"type|name|user(?:name)?|algorithm|provider|allow|random|rotation|header|field|param|endpoint|issuer|audience|gpg)(?:_|$)"
    r"|^(?:PWD|OLDPWD)$|PUBLIC_KEY|GPG_KEY"
)
_HARMLESS_VALUE = re.compile(
    r"(?i)^(?:|true|false|yes|no|on|off|none|null|nil|0|1|changeme\?|\*+|x+|<[^>]*>|\$\{?[A-Za-z_][\w:?-]*\}?|\$\([^)]*\)|%\([^)]*\)s|"
    r"/[\w./-]*|file:/.*|vault:.*|\[redacted, \d+ characters\])$"
)
_TOKENS = (
    ("AWS access key", re.compile(rb"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"), (b"AKIA", b"ASIA")),
    ("GitHub token", re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})\b"),
     (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_")),
    ("GitLab token", re.compile(rb"\bglpat-[A-Za-z0-9_-]{20,}"), (b"glpat-",)),
    ("Slack token", re.compile(rb"\bxox[abprs]-[A-Za-z0-9-]{20,}"), (b"xox",)),
    ("Stripe key", re.compile(rb"\b[sr]k_live_[A-Za-z0-9]{20,}"), (b"k_live_",)),
    ("Google API key", re.compile(rb"\bAIza[A-Za-z0-9_-]{35}\b"), (b"AIza",)),
    ("npm token", re.compile(rb"\bnpm_[A-Za-z0-9]{36}\b"), (b"npm_",)),
    ("Docker Hub token", re.compile(rb"\bdckr_pat_[A-Za-z0-9_-]{20,}"), (b"dckr_pat_",)),
    ("Vault token", re.compile(rb"\bhvs\.[A-Za-z0-9_-]{24,}"), (b"hvs.",)),
    ("SendGrid key", re.compile(rb"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b"), (b"SG.",)),
    ("password in a URL", re.compile(rb"\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|ftp|smtps?|ldaps?)"
                                     rb"://[^\s:/@\"'<>{}$]*:[^\s/@\"'<>{}$]{3,}@"), (b"://",)),
)  # fmt: skip
_TOKEN_WORDS = re.compile(b"|".join(re.escape(word) for _kind, _pattern, words in _TOKENS for word in words))
PRIVATE_KEY = re.compile(
    rb"-----BEGIN ((?:RSA |DSA |EC |OPENSSH |ENCRYPTED |PGP )?PRIVATE KEY(?: BLOCK)?)-----[\r\n]+"
    rb"(?:[A-Za-z-]+: [^\n]+\n){0,10}[\r\n]*[A-Za-z0-9+/=]{20}"
)
CREDENTIAL_FILES = re.compile(
    rb"(?:^|/)(?:\.aws/credentials|\.docker/config\.json|\.dockercfg|\.dockerconfigjson|\.git-credentials|\.netrc|\.pgpass"
    rb"|\.my\.cnf|\.npmrc"
    rb"|\.pypirc|\.kube/config|\.config/gcloud/(?:credentials\.db|application_default_credentials\.json)"
    rb"|\.azure/(?:accessTokens|msal_token_cache)\S*"
    rb"|\.vault-token|\.htpasswd|\.terraform\.d/credentials\.tfrc\.json|\.config/gh/hosts\.yml|\.ssh/id_[a-z0-9]+)$"
)
ENV_FILES = re.compile(rb"(?:^|/)(?:\.env(?:\.[\w-]+)?|[\w.-]+\.env|wp-config\.php|database\.yml|secrets\.ya?ml|settings\.py"
                       rb"|appsettings[\w.]*\.json|application[\w-]*\.(?:properties|ya?ml)|config\.php|credentials(?:\.json)?"
                       rb"|service-account[\w-]*\.json)$")  # fmt: skip
_ASSIGNMENT = re.compile(
    r"""(?:^|[\s;{,(]|define\()[ \t]{0,20}(?:export[ \t]{1,9})?["']?([A-Za-z_][\w.-]{2,60})["']?"""
    r"""[ \t]{0,20}(?:=>|[:=,])[ \t]{0,20}["']?([^\s"'#;,)}\\]{1,200})""",
    re.MULTILINE,
)


def is_secret(name: str, value: str) -> bool:
    """Whether a variable holds a secret, by what it is called and what it holds."""
    if not _SECRET_NAME.search(name) or _HARMLESS_NAME.search(name):
        return False
    return not _HARMLESS_VALUE.match(value.strip().strip("\"'"))


def tokens(data: bytes) -> list[tuple[str, int]]:
    """The kinds of tokens in some bytes, each once, with the length of the first; examples in documentation apart."""
    found: list[tuple[str, int]] = []
    if not may_hold_tokens(data):
        return found
    for kind, pattern, words in _TOKENS:
        if any(word in data for word in words):
            match = next((m for m in pattern.finditer(data) if not is_example(m[0])), None)
            if match is not None:
                found.append((kind, len(match[0])))
    return found


def may_hold_tokens(data: bytes) -> bool:
    """Whether `tokens` can find any in some bytes, or in a part of them: a quick look, as nearly all have none."""
    return _TOKEN_WORDS.search(data) is not None


def is_example(value: bytes) -> bool:
    """Whether a value is a placeholder, as in documentation."""
    lowered = value.lower()
    return any(
        word in lowered for word in (b"example", b"xxxx", b"user:pass", b"username:password", b"placeholder", b"your", b"<")
    )


def assignments(text: str) -> list[tuple[str, int]]:
    """Names and lengths of the secrets that a configuration assigns."""
    found: dict[str, int] = {}
    for name, value in _ASSIGNMENT.findall(text):
        if is_secret(name, value) and not is_example(value.encode("utf-8", "replace")) and len(value) >= 3:
            found.setdefault(name, len(value))
    return list(found.items())
