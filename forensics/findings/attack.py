"""The MITRE ATT&CK techniques that rules name, as Enterprise ATT&CK v16.1 (November 2024) calls them.

Those of the Containers matrix first; then techniques that the matrix does not have, because they are the same on any Linux host,
and that leave traces inside containers all the same.
"""

from __future__ import annotations

CONTAINERS = {
    "T1036.005": "Masquerading: Match Legitimate Name or Location",
    "T1068": "Exploitation for Privilege Escalation",
    "T1070": "Indicator Removal",
    "T1078.003": "Valid Accounts: Local Accounts",
    "T1136.001": "Create Account: Local Account",
    "T1204.003": "User Execution: Malicious Image",
    "T1496.001": "Resource Hijacking: Compute Hijacking",
    "T1525": "Implant Internal Image",
    "T1543.005": "Create or Modify System Process: Container Service",
    "T1552.001": "Unsecured Credentials: Credentials In Files",
    "T1562.001": "Impair Defenses: Disable or Modify Tools",
    "T1609": "Container Administration Command",
    "T1610": "Deploy Container",
    "T1611": "Escape to Host",
    "T1612": "Build Image on Host",
}
LINUX = {
    "T1014": "Rootkit",
    "T1027.002": "Obfuscated Files or Information: Software Packing",
    "T1037.004": "Boot or Logon Initialization Scripts: RC Scripts",
    "T1053.003": "Scheduled Task/Job: Cron",
    "T1059.004": "Command and Scripting Interpreter: Unix Shell",
    "T1070.002": "Indicator Removal: Clear Linux or Mac System Logs",
    "T1070.003": "Indicator Removal: Clear Command History",
    "T1070.004": "Indicator Removal: File Deletion",
    "T1070.006": "Indicator Removal: Timestomp",
    "T1098.004": "Account Manipulation: SSH Authorized Keys",
    "T1105": "Ingress Tool Transfer",
    "T1505.003": "Server Software Component: Web Shell",
    "T1543.002": "Create or Modify System Process: Systemd Service",
    "T1546.004": "Event Triggered Execution: Unix Shell Configuration Modification",
    "T1548.001": "Abuse Elevation Control Mechanism: Setuid and Setgid",
    "T1548.003": "Abuse Elevation Control Mechanism: Sudo and Sudo Caching",
    "T1552.004": "Unsecured Credentials: Private Keys",
    "T1554": "Compromise Host Software Binary",
    "T1556.003": "Modify Authentication Process: Pluggable Authentication Modules",
    "T1564.001": "Hide Artifacts: Hidden Files and Directories",
    "T1574.006": "Hijack Execution Flow: Dynamic Linker Hijacking",
}
TECHNIQUES = CONTAINERS | LINUX
