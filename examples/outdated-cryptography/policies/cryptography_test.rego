package cryptography_test

import data.cryptography

image(name, version) := {"evidence": [{"kind": "sbom", "components": [{"name": name, "version": version}]}]}

test_an_outdated_library_is_denied_with_what_to_do if {
	some v in cryptography.deny with input as image("openssl", "1:1.1.1w-0+deb11u1")
	v.remedy == "build on an image with openssl 3.0 or newer"
}

test_an_older_minor_version_is_denied if {
	count(cryptography.deny) == 1 with input as image("gnutls", "3.6.16")
}

test_a_maintained_one_passes if {
	count(cryptography.deny) == 0 with input as image("openssl", "3.5.1-1")
}

test_what_encrypts_nothing_passes if {
	count(cryptography.deny) == 0 with input as image("zlib", "1.2.3")
}

test_a_version_that_says_nothing_is_denied if {
	some v in cryptography.deny with input as image("mbedtls", "unknown")
	v.msg == "nobody can tell how old mbedtls unknown is"
}
