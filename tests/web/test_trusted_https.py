"""https on the network in a real browser: refused until the authority is trusted, then offline as well."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from tests.web.page import CHROMIUM, served, small_runtime

CERTUTIL = shutil.which("certutil")


@contextmanager
def page_of_a_browser_at(home):
    """A page of a browser whose home, and with it whose list of trusted authorities, is this folder."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            home / "profile",
            executable_path=CHROMIUM,
            args=["--no-sandbox"],
            env={**os.environ, "HOME": str(home)},
        )
        yield context.new_page()
        context.close()


def trust(authority, home):
    """Make the authority one that browsers of this home trust, as a person does in their settings."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    base = [CERTUTIL, "-d", f"sql:{database}"]
    subprocess.run([*base, "-N", "--empty-password"], check=True)
    subprocess.run([*base, "-A", "-t", "C,,", "-n", "Gnomon", "-i", str(authority)], check=True)


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_that_trusts_the_authority_opens_the_page_and_keeps_it_for_use_offline(tmp_path):
    if CHROMIUM is None or CERTUTIL is None:
        pytest.skip("needs Chromium and certutil: apt-get install chromium libnss3-tools")
    home, out = tmp_path / "home", tmp_path / "runs"
    home.mkdir()
    with served(out, cache=small_runtime(tmp_path / "cache"), host="0.0.0.0") as address:
        assert address.startswith("https://")
        with page_of_a_browser_at(home) as page, pytest.raises(Exception, match="CERT_AUTHORITY"):
            page.goto(address)
        trust(out / ".mobile" / "authority.pem", home)
        with page_of_a_browser_at(home) as page:
            page.goto(address)
            page.get_by_text("Ready to run offline").wait_for(timeout=60_000)
            assert page.evaluate("crossOriginIsolated")
