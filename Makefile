# `make` says what there is. All of it works in a fresh clone: what is missing is fetched first, by scripts/setup.sh.

CARGO ?= cargo

# A PKG_CONFIG_PATH from outside hides what .cargo/config.toml says about it.
ifneq ($(origin PKG_CONFIG_PATH),undefined)
export PKG_CONFIG_PATH := $(PKG_CONFIG_PATH):$(CURDIR)/.librealsense/lib/pkgconfig
endif

# The exit code of scripts/setup.sh, which runs when a recipe first asks for it, and once.
setup = $(eval setup := $(shell scripts/setup.sh >&2; echo $$?))$(setup)
without_cameras = --no-default-features --features viewer
ifeq ($(CAMERAS),no)
features = $(without_cameras)
else
# Nothing, or without cameras where there can be no librealsense.
features = $(if $(filter 0,$(setup)),,$(if $(filter 3,$(setup)),$(warn_once)$(without_cameras),\
	$(error set-up failed; `make $(MAKECMDGOALS) CAMERAS=no` does without cameras)))
warn_once = $(info going on WITHOUT CAMERAS: $(without_cameras))$(eval warn_once :=)
endif

help:
	@echo 'make demo    build, show 10 s of a synthetic camera in the Rerun viewer and keep them in target/demo.rrd'
	@echo 'make test    all tests, optimised, with debug assertions and overflow checks'
	@echo 'make bench   how fast the projection is here, beside what memory allows and librealsense does'
	@echo 'make screenshots   the pictures of the README, taken anew'
	@echo 'make lint    formatting, clippy, documentation'
	@echo 'make setup   fetch what building takes, if it is not there; the others do this themselves'
	@echo 'make clean   remove what was built; .librealsense/ and .tools/ stay'
	@echo 'With CAMERAS=no, demo, bench, test and lint do without librealsense.'

setup:
	@: $(features)

demo:
	$(CARGO) build --release --locked $(features)
	@mkdir -p target
	$(CARGO) run --quiet --release --locked $(features) -- demo --duration 10s --save target/demo.rrd --linger 0s

bench:
	$(CARGO) build --release --locked $(features)
	$(CARGO) run --quiet --release --locked $(features) -- bench

# Of the web viewer, for the README.
screenshots:
	scripts/setup.sh --tests
	$(CARGO) build --release --locked $(features)
	$(CARGO) run --quiet --release --locked $(features) --example screenshots

# The release profile shares its dependencies with `demo`; our own crate alone is built again, with the
# checks that a release leaves out.
checked = --config profile.release.package.depthcast.debug-assertions=true \
	--config profile.release.package.depthcast.overflow-checks=true
test:
	scripts/setup.sh --tests || [ $$? = 3 ]
	$(CARGO) test --release --locked $(checked) $(features)

# In the release profile too: it has the build scripts and macros already.
lint:
	$(CARGO) fmt --check
	$(if $(features),,$(CARGO) clippy --release --locked --all-targets -- -D warnings)
	$(CARGO) clippy --release --locked --all-targets $(without_cameras) -- -D warnings
	$(CARGO) clippy --release --locked --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --release --locked --no-deps $(features)
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh .ci/run; fi

clean:
	$(CARGO) clean

.PHONY: help setup demo bench test screenshots lint clean
