"""What is missing is named, all of it at once, with the command that helps."""

import pytest

from analyzer.cli.application import run
from analyzer.lab import initramfs, kernel_package, parts
from analyzer.lab.process import MissingPartsError


@pytest.fixture
def bare_system(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(parts, "_SYSTEM_DIRECTORIES", ())


@pytest.mark.usefixtures("bare_system")
def test_every_missing_package_is_named_once():
    with pytest.raises(MissingPartsError) as caught:
        parts.find()
    names = "busybox-static cpio kexec-tools kmod pciutils qemu-system-x86"
    assert str(caught.value) == (
        f"the lab cannot start: Debian packages are not installed: {names} "
        f"(apt-get install --no-install-recommends {names})"
    )


@pytest.mark.usefixtures("bare_system")
def test_what_the_developer_gives_need_not_be_installed(tmp_path):
    given = tmp_path / "qemu"
    given.write_text("")
    with pytest.raises(MissingPartsError) as caught:
        parts.find(qemu=str(given), kernel=str(tmp_path / "bzImage"))
    assert "qemu-system-x86" not in str(caught.value)
    assert f"--kernel: {tmp_path}/bzImage is not a readable file" in str(caught.value)


@pytest.mark.usefixtures("bare_system")
def test_the_program_ends_with_status_2(capsys):
    assert run(["lab", "run", "clean"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "apt-get install --no-install-recommends busybox-static" in said.err


def test_modules_with_all_they_need(tmp_path):
    (tmp_path / "modules.dep").write_text(
        "kernel/lib/crc64.ko:\n"
        "kernel/drivers/nvme/host/nvme-core.ko.xz: kernel/lib/crc64.ko\n"
        "kernel/drivers/nvme/host/nvme.ko.xz: kernel/drivers/nvme/host/nvme-core.ko.xz kernel/lib/crc64.ko\n"
        "kernel/drivers/pci/pci-pf-stub.ko:\n"
        "kernel/sound/nvme-like.ko:\n"
    )
    assert initramfs.module_files(tmp_path, ["nvme", "pci_pf_stub", "igb"]) == [
        "kernel/drivers/nvme/host/nvme-core.ko.xz",
        "kernel/drivers/nvme/host/nvme.ko.xz",
        "kernel/drivers/pci/pci-pf-stub.ko",
        "kernel/lib/crc64.ko",
    ]


def test_modules_without_an_index(tmp_path):
    with pytest.raises(MissingPartsError, match=r"modules\.dep"):
        initramfs.module_files(tmp_path, ["nvme"])


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("./boot/vmlinuz-6.1.0-56-amd64", True),
        ("./lib/modules/6.1.0-56-amd64/kernel/drivers/nvme/host/nvme.ko", True),
        ("./usr/lib/modules/6.12.94-amd64/kernel/drivers/nvme/host/nvme.ko.xz", True),
        ("./lib/modules/6.1.0-56-amd64/modules.builtin", True),
        ("./lib/modules/6.1.0-56-amd64/kernel/sound/soundcore.ko", False),
        ("./usr/share/doc/linux-image-6.1.0-56-amd64/copyright", False),
    ],
)
def test_what_is_unpacked_of_a_kernel_package(name, wanted):
    assert kernel_package._is_wanted(kernel_package._plain(name)) is wanted


def test_the_list_of_scenarios(capsys):
    assert run(["lab", "list"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split() == ["SCENARIO", "PARTS", "WHAT", "IT", "SHOWS"]
    assert any(row.split()[:2] == ["clean", "stock"] for row in rows)


def test_an_unknown_scenario(capsys):
    assert run(["lab", "run", "no-such"]) == 2
    assert "there is no 'no-such' among the scenarios" in capsys.readouterr().err
