"""Human and machine reports: rendering only, never how a verdict was reached."""
