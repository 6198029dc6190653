################################################################################
#
# hindcapd
#
################################################################################

HINDCAPD_VERSION = 0.1.0
# Made by scripts/dist, with its hash beside it in patches/hindcapd.
HINDCAPD_SITE = $(BR2_EXTERNAL_HINDCAP_PATH)/../target/dist
HINDCAPD_SITE_METHOD = file
HINDCAPD_SOURCE = hindcap-$(HINDCAPD_VERSION).tar.gz
HINDCAPD_LICENSE = MIT or Apache-2.0
HINDCAPD_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE
HINDCAPD_DEPENDENCIES = host-pkgconf libpcap
HINDCAPD_SUBDIR = sensor/agent

# The profile of Cargo.toml, which Buildroot's settings would override: speed of the hot path, and a small executable.
HINDCAPD_CARGO_ENV = \
	CARGO_PROFILE_RELEASE_OPT_LEVEL="3" \
	CARGO_PROFILE_RELEASE_LTO="fat" \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS="1" \
	LIBPCAP_LIBDIR=$(STAGING_DIR)/usr/lib \
	LIBPCAP_VER="$$($(PKG_CONFIG_HOST_BINARY) --modversion libpcap)"

define HINDCAPD_USERS
	hindcap 900 hindcap 900 * - - - Hindcap sensor
endef

$(eval $(cargo-package))
