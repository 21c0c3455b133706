# A part of run.sh. shellcheck shell=sh
if digest=$(printf abc | "$root/bin/openssl" dgst -sha256) && [ "${digest##* }" = \
    ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad ]; then
    ok "$("$root/bin/openssl" version)"
else
    bad "openssl: the SHA-256 is wrong"
fi
compare_version openssl "$("$root/bin/openssl" version)"
