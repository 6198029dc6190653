//! Media as the kernel and smartctl show them, in a directory of the test's own.
//!
//! The values are of the form that real ones have: sysfs as in `Documentation/ABI/testing/sysfs-block` and
//! `Documentation/driver-api/mmc/mmc-dev-attrs.rst` of the kernel, documents as smartctl 7.3 to 7.5 print them
//! (smartmontools, `nvmeprint.cpp`, `ataprint.cpp`), shortened to what is read. Models and serial numbers are made up.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

/// A sysfs of our own.
#[derive(Debug)]
pub struct FakeSys(TempDir);

impl FakeSys {
    /// An empty one.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("dev/block")).unwrap();
        Self(directory)
    }

    /// Its root.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A device in `devices/PLACE` with attributes.
    pub fn device(&self, place: &str, attributes: &[(&str, &str)]) -> PathBuf {
        let directory = self.path().join("devices").join(place);
        fs::create_dir_all(&directory).unwrap();
        for (name, value) in attributes {
            let file = directory.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("{value}\n")).unwrap();
        }
        directory
    }

    /// Gives a device its number.
    pub fn number(&self, number: (u32, u32), place: &str) {
        let entry = self.path().join(format!("dev/block/{}:{}", number.0, number.1));
        let _ = fs::remove_file(&entry);
        symlink(self.path().join("devices").join(place), entry).unwrap();
    }

    /// Makes the device at `place` the one that the files of this test lie on.
    pub fn under(&self, place: &str) {
        let device = fs::metadata(self.path()).unwrap().dev();
        self.number((rustix::fs::major(device), rustix::fs::minor(device)), place);
    }

    /// Looks at the medium below itself, without smartctl.
    pub fn look(&self) -> Look {
        look(self.path(), self.path(), &[Box::new(Emmc) as Box<dyn ReadRegisters>])
    }
}

const EMMC: &str = "platform/fe310000.mmc/mmc_host/mmc2/mmc2:0001/block/mmcblk2";

/// An eMMC on which 0x`life` and 0x`pre_eol` stand.
pub fn emmc(life: &str, pre_eol: &str) -> FakeSys {
    let sys = FakeSys::new();
    let attributes = [
        ("size", "15269888"),
        ("ro", "0"),
        ("queue/rotational", "0"),
        ("device/type", "MMC"),
        ("device/name", "8GXX4R"),
        ("device/manfid", "0x000015"),
        ("device/oemid", "0x0100"),
        ("device/date", "08/2019"),
        ("device/serial", "0x5a1b2c3d"),
        ("device/fwrev", "0x0700000000000000"),
        ("device/preferred_erase_size", "4194304"),
        ("device/erase_size", "524288"),
        ("device/life_time", life),
        ("device/pre_eol_info", pre_eol),
    ];
    sys.device(EMMC, &attributes);
    sys.device(&format!("{EMMC}/mmcblk2p8"), &[("partition", "8"), ("size", "1000")]);
    sys.under(&format!("{EMMC}/mmcblk2p8"));
    sys
}

#[test]
fn an_emmc_is_found_below_a_partition_and_tells_its_life() {
    let look = emmc("0x02 0x05", "0x01").look();
    let Medium { kind, name, model, serial, size_bytes, erase_bytes, read_only, .. } = &look.medium;
    assert_eq!((*kind, name.as_str(), model.as_str()), (MediumKind::Emmc, "mmcblk2", "8GXX4R"));
    assert_eq!((serial.as_str(), *size_bytes), ("0x5a1b2c3d", Some(15_269_888 * 512)));
    assert_eq!((*erase_bytes, *read_only), (Some(4 << 20), false));
    assert_eq!((look.registers.used_permille, look.findings()), (Some(400), vec![]));
    let urgent = emmc("0x0b 0x01", "0x03").look();
    assert_eq!((urgent.registers.used_permille, urgent.findings()), (Some(1000), vec![Finding::SpareUrgent]));
}

#[test]
fn an_sd_card_tells_what_it_is_and_nothing_more() {
    let sys = FakeSys::new();
    let card = "platform/fe2b0000.mmc/mmc_host/mmc1/mmc1:aaaa/block/mmcblk1";
    sys.device(
        card,
        &[
            ("size", "124735488"),
            ("ro", "1"),
            ("device/type", "SD"),
            ("device/name", "SC64G"),
            ("device/serial", "0x1234abcd"),
            ("device/preferred_erase_size", "16777216"),
        ],
    );
    sys.under(card);
    let look = sys.look();
    assert_eq!((look.medium.kind, look.medium.erase_bytes), (MediumKind::Sd, Some(16 << 20)));
    assert_eq!(look.registers, Registers::default(), "no register of life");
    assert_eq!(look.findings(), [Finding::ReadOnly], "the kernel's word");
    assert_eq!(look.name(), "SD card mmcblk1 SC64G");
}

#[test]
fn kinds_are_told_by_where_a_disk_hangs() {
    for (place, attributes, kind, model) in [
        (
            "pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1",
            &[("device/model", "Example 2280 256GB")][..],
            MediumKind::Nvme,
            "Example 2280 256GB",
        ),
        (
            "pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda",
            &[("queue/rotational", "0"), ("device/vendor", "ATA     "), ("device/model", "Example SSD")],
            MediumKind::SataSsd,
            "Example SSD",
        ),
        (
            "pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sdb",
            &[("queue/rotational", "1"), ("device/vendor", "ATA")],
            MediumKind::Hdd,
            "",
        ),
        (
            "pci0000:00/usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block/sdc",
            &[("queue/rotational", "1"), ("device/vendor", "Generic"), ("device/model", "MassStorageClass")],
            MediumKind::Usb,
            "Generic MassStorageClass",
        ),
        (
            "pci0000:00/host2/target2:0:0/2:0:0:0/block/sdd",
            &[("queue/rotational", "1"), ("device/vendor", "QEMU"), ("device/model", "QEMU HARDDISK")],
            MediumKind::Virtual,
            "QEMU HARDDISK",
        ),
        ("pci0000:00/virtio3/block/vda", &[("device/vendor", "0x1af4")], MediumKind::Virtual, ""),
        ("virtual/block/ram0", &[], MediumKind::Virtual, ""),
        ("platform/mmc_host/mmc0/mmc0:1/block/mmcblk0", &[("device/type", "SDIO")], MediumKind::Unknown, ""),
        ("platform/new/block/zzz0", &[], MediumKind::Unknown, ""),
    ] {
        let sys = FakeSys::new();
        sys.device(place, attributes);
        sys.under(place);
        let medium = sys.look().medium;
        assert_eq!((medium.kind, medium.model.as_str()), (kind, model), "{place}");
    }
}

#[test]
fn device_mapper_and_image_files_lead_to_the_disk_below() {
    let sys = emmc("0x01 0x01", "0x01");
    let disk =
        fs::read_link(fs::read_dir(sys.path().join("dev/block")).unwrap().next().unwrap().unwrap().path());
    let mapper = sys.device("virtual/block/dm-0", &[("size", "8")]);
    fs::create_dir_all(mapper.join("slaves")).unwrap();
    symlink(disk.unwrap(), mapper.join("slaves/mmcblk2p8")).unwrap();
    sys.number((252, 0), "virtual/block/dm-0");
    let name = |number| find::below(number, sys.path(), 8).name;
    assert_eq!(name((252, 0)), "mmcblk2");
    // A loop device on a file that lies on that partition.
    let image = sys.path().join("card.img");
    fs::write(&image, "").unwrap();
    sys.device("virtual/block/loop0", &[("loop/backing_file", image.to_str().unwrap())]);
    sys.number((7, 0), "virtual/block/loop0");
    assert_eq!(name((7, 0)), "mmcblk2");
    let card = PathBuf::from(format!("fat:{}", image.display()));
    assert_eq!(find::find(&card, sys.path()).name, "mmcblk2", "an image file: the disk of its file system");
    let later = sys.path().join("not/made/yet");
    assert_eq!(find::find(&later, sys.path()).name, "mmcblk2", "a store that is still to be made");
    // Two disks below: nobody can say which; and a loop of devices ends.
    symlink(sys.device("virtual/block/zram0", &[]), mapper.join("slaves/zram0")).unwrap();
    assert_eq!(find::below((252, 0), sys.path(), 8).kind, MediumKind::Virtual);
    let circle = sys.device("virtual/block/dm-1", &[]);
    fs::create_dir_all(circle.join("slaves")).unwrap();
    symlink(&circle, circle.join("slaves/dm-1")).unwrap();
    sys.number((252, 1), "virtual/block/dm-1");
    assert_eq!(name((252, 1)), "dm-1");
    assert_eq!(name((99, 99)), "", "no such device");
    assert_eq!(find::find(Path::new("/nonexistent"), Path::new("/nonexistent")), Medium::default());
}

/// Log page 02h of an NVMe drive.
fn nvme(warning: u32, spare: u32, used: u32) -> String {
    format!(
        r#"{{"json_format_version":[1,0],"smartctl":{{"version":[7,4],"exit_status":0}},
        "device":{{"name":"/dev/nvme0n1","type":"nvme","protocol":"NVMe"}},"serial_number":"S0MADEUP",
        "smart_status":{{"passed":{},"nvme":{{"value":{warning}}}}},
        "nvme_smart_health_information_log":{{"critical_warning":{warning},"temperature":41,"available_spare":{spare},
        "available_spare_threshold":10,"percentage_used":{used},"data_units_read":19446553,
        "data_units_written":25771349,"power_on_hours":3150,"media_errors":2}}}}"#,
        warning == 0
    )
}

#[test]
fn nvme_registers_are_read() {
    let registers = smart::registers(&nvme(0, 100, 7)).unwrap();
    assert_eq!((registers.used_permille, registers.spare_percent), (Some(70), Some(100)));
    assert_eq!(registers.written_bytes, Some(25_771_349 * 512_000));
    assert_eq!((registers.media_errors, registers.findings), (Some(2), vec![]));
    assert_eq!(registers.serial.as_deref(), Some("S0MADEUP"));
    assert_eq!(smart::registers(&nvme(0, 100, 255)).unwrap().used_permille, Some(2550), "past its end");
}

#[test]
fn nvme_warnings_are_told_apart() {
    let findings = |warning, spare| smart::registers(&nvme(warning, spare, 0)).unwrap().findings;
    let below = |percent| Finding::SpareBelow { percent: Some(percent), threshold: Some(10) };
    assert_eq!(findings(0, 10), [], "at the threshold");
    assert_eq!(findings(0, 9), [below(9)], "below it");
    assert_eq!(findings(1, 100), [below(100)], "the drive says so itself");
    assert_eq!(findings(1 << 1, 100), [Finding::Temperature]);
    assert_eq!(findings(1 << 2, 100), [Finding::Unreliable]);
    assert_eq!(findings(1 << 3, 100), [Finding::ReadOnly]);
    assert_eq!(findings(3 << 4, 100), [Finding::PowerProtection]);
    assert_eq!(findings(1 << 7, 100), [Finding::Failed], "a bit that came later");
}

/// A SATA drive with attributes (number, name, value, raw).
fn sata(rows: &[(u32, &str, u32, u64)], more: &str) -> String {
    let table: Vec<String> = rows
        .iter()
        .map(|(id, name, value, raw)| {
            format!(r#"{{"id":{id},"name":"{name}","value":{value},"worst":{value},"thresh":0,"raw":{{"value":{raw},"string":"{raw}"}}}}"#)
        })
        .collect();
    format!(
        r#"{{"smartctl":{{"version":[7,3],"exit_status":0}},"device":{{"type":"sat","protocol":"ATA"}},
        "logical_block_size":512,"rotation_rate":0,"smart_status":{{"passed":true}}{more},
        "ata_smart_attributes":{{"revision":16,"table":[{}]}}}}"#,
        table.join(",")
    )
}

#[test]
fn sata_life_is_read_by_number_and_name() {
    for (row, used) in [
        ((231, "SSD_Life_Left", 95, 4_294_967_296), Some(50)),
        ((231, "Temperature_Celsius", 60, 40), None),
        ((202, "Percent_Lifetime_Remain", 91, 9), Some(90)),
        ((202, "Data_Address_Mark_Errs", 91, 9), None),
        ((233, "Media_Wearout_Indicator", 80, 0), Some(200)),
        ((233, "Flash_Writes_GiB", 100, 17_618), None),
        ((233, "SandForce_Internal", 0, 5_000), None),
        ((177, "Wear_Leveling_Count", 99, 3), Some(10)),
        ((173, "Ave_Block-Erase_Count", 20, 2_400), Some(800)),
        ((173, "MaxAvgErase_Ct", 100, 8_257_696), None),
        ((169, "Remaining_Lifetime_Perc", 100, 97), Some(30)),
        ((169, "Bad_Block_Rate", 100, 97), None),
        ((231, "SSD_Life_Left", 200, 0), None),
    ] {
        let registers = smart::registers(&sata(&[row], "")).unwrap();
        assert_eq!(registers.used_permille, used, "{row:?}");
    }
}

#[test]
fn the_standard_comes_before_the_vendor() {
    let rows = [(177, "Wear_Leveling_Count", 99, 3), (241, "Total_LBAs_Written", 99, 1_000_000)];
    let page = |valid| {
        format!(
            r#","ata_device_statistics":{{"pages":[{{"number":1,"name":"General Statistics","table":[
            {{"offset":24,"name":"Logical Sectors Written","size":6,"value":4000,"flags":{{"valid":{valid}}}}}]}},
            {{"number":7,"name":"Solid State Device Statistics","table":[
            {{"offset":8,"name":"Percentage Used Endurance Indicator","size":1,"value":83,"flags":{{"valid":{valid}}}}}]}}]}}"#
        )
    };
    let read = |more: &str| {
        let registers = smart::registers(&sata(&rows, more)).unwrap();
        (registers.used_permille, registers.written_bytes)
    };
    assert_eq!(read(&page(true)), (Some(830), Some(4_000 * 512)));
    assert_eq!(read(&page(false)), (Some(10), Some(512_000_000)), "the drive says that it does not know");
    assert_eq!(read(r#","endurance_used":{"current_percent":5}"#).0, Some(50));
    let spare = |left| {
        let more = format!(r#","spare_available":{{"current_percent":{left},"threshold_percent":3}}"#);
        smart::registers(&sata(&[], &more)).unwrap().findings
    };
    assert_eq!(spare(3), []);
    assert_eq!(spare(2), [Finding::SpareBelow { percent: Some(2), threshold: Some(3) }]);
}

#[test]
fn bytes_written_have_many_units() {
    for (row, bytes) in [
        ((241, "Host_Writes_32MiB", 100, 6_139), 6_139 << 25),
        ((241, "Lifetime_Writes_GiB", 100, 11_520), 11_520 << 30),
        ((241, "Lifetime_Wts_Frm_Hst_GB", 100, 7), 7_000_000_000),
        ((246, "Total_LBAs_Written", 100, 8), 4_096),
    ] {
        assert_eq!(smart::registers(&sata(&[row], "")).unwrap().written_bytes, Some(bytes), "{row:?}");
    }
    let nonsense = sata(&[(241, "Lifetime_Writes_GiB", 100, u64::MAX)], "");
    assert_eq!(smart::registers(&nonsense).unwrap().written_bytes, None);
}

#[test]
fn a_disk_that_turns_has_only_its_judgement() {
    let rows = [(177, "Wear_Leveling_Count", 3, 3)];
    let turning = sata(&rows, "").replace(r#""rotation_rate":0"#, r#""rotation_rate":7200"#);
    let registers = smart::registers(&turning).unwrap();
    assert_eq!((registers.used_permille, registers.findings), (None, vec![]));
    let failing = turning.replace(r#""passed":true"#, r#""passed":false"#);
    assert_eq!(smart::registers(&failing).unwrap().findings, [Finding::Failed]);
}

#[test]
fn a_document_that_tells_nothing_is_no_answer() {
    let denied = r#"{"json_format_version":[1,0],"smartctl":{"version":[7,5],"messages":[{"string":
        "Smartctl open device: /dev/nvme0n1 failed: Permission denied","severity":"error"}],"exit_status":2}}"#;
    for document in [denied, "", "{}", "[]", "null", "what?", "{\"ata_smart_attributes\":7}"] {
        assert_eq!(smart::registers(document), None, "{document}");
    }
}

/// A program in the place of smartctl.
fn program(directory: &Path, script: &str) -> PathBuf {
    let path = directory.join("smartctl");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn sata_ssd() -> Medium {
    Medium { kind: MediumKind::SataSsd, name: "sda".into(), ..Medium::default() }
}

#[test]
fn smartctl_is_asked_about_the_disk_and_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let asked = directory.path().join("asked");
    let document = sata(&[(231, "SSD_Life_Left", 60, 0)], "").replace('\n', " ");
    let path =
        program(directory.path(), &format!("echo \"$@\" > {}; echo '{document}'; exit 64", asked.display()));
    let missing = directory.path().join("missing");
    let smartctl = Smartctl::new(vec![missing.clone(), path], Duration::from_secs(60));
    assert_eq!(smartctl.read(&sata_ssd()).unwrap().used_permille, Some(400), "whatever it exits with");
    assert_eq!(fs::read_to_string(&asked).unwrap().trim(), "--json=c -i -H -A -l devstat /dev/sda");
    fs::remove_file(&asked).unwrap();
    let card = Medium { kind: MediumKind::Sd, name: "mmcblk0".into(), ..Medium::default() };
    assert_eq!(smartctl.read(&card), None);
    assert!(!asked.exists(), "nothing to ask a card");
    assert_eq!(
        Smartctl::new(vec![missing], Duration::from_secs(60)).read(&sata_ssd()),
        None,
        "not installed"
    );

    let slow = tempfile::tempdir().unwrap();
    let smartctl = Smartctl::new(vec![program(slow.path(), "exec sleep 300")], Duration::from_millis(50));
    let begun = Instant::now();
    assert_eq!(smartctl.read(&sata_ssd()), None);
    assert!(begun.elapsed() < Duration::from_secs(60), "far less than it sleeps: {:?}", begun.elapsed());
    let endless = tempfile::tempdir().unwrap();
    let smartctl = Smartctl::new(vec![program(endless.path(), "exec yes")], Duration::from_secs(60));
    assert_eq!(smartctl.read(&sata_ssd()), None, "more than a document");
}

/// A register that nobody answers.
#[derive(Debug)]
struct Dead;

impl ReadRegisters for Dead {
    fn read(&self, _: &Medium) -> Option<Registers> {
        std::thread::sleep(Duration::from_secs(3_600));
        None
    }
}

#[test]
fn the_watch_tells_what_it_saw_and_keeps_nobody_waiting() {
    let sys = emmc("0x03 0x01", "0x01");
    let watch = MediumWatch::start(sys.path().into(), sys.path().into(), vec![Box::new(Emmc)]);
    let (looks, look) = watch.first(Duration::from_secs(60));
    assert_eq!((looks, look.registers.used_permille), (1, Some(200)));
    fs::write(sys.path().join("devices").join(EMMC).join("device/life_time"), "0x04 0x01\n").unwrap();
    watch.look_again();
    let deadline = Instant::now() + Duration::from_secs(60);
    while watch.last().0 < 2 {
        assert!(Instant::now() < deadline, "nobody looked again");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(watch.last().1.registers.used_permille, Some(300));

    let dead = MediumWatch::start(sys.path().into(), sys.path().into(), vec![Box::new(Dead)]);
    assert_eq!(dead.first(Duration::from_millis(50)), (0, Look::default()), "unknown, not an error");
}
