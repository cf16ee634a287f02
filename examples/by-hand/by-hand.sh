#!/usr/bin/env bash
# by-hand.sh URL [MODEL]: what the verifier does, as far as curl and openssl can do it, step by step. README.md says
# what each step is good for, and what none of them can do. Every file stays in the folder that the last line names.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
url=${1:?usage: by-hand.sh URL [MODEL]}
model=${2:-glove-sif-100d}

# The keys that you trust as roots: SHA-256 of their SubjectPublicKeyInfo. These are the published ones of SIMULATED
# hardware, which protects nothing. For real hardware take the vendor's, from a source that you believe.
cpu_root=${CPU_ROOT:-40a1dc0cfe9e53d58204f65a9c396d880ed0feae7bae546ebe991c9fc736f6b2}
gpu_root=${GPU_ROOT:-c57e3377898bc65a60240f15ddca26d0ffd3a84930cc4d993eb5737a74782571}
# The launch measurement that you expect of the virtual machine, 96 hex digits.
measurement=${MEASUREMENT:-a73de551dad454ee44b8385da47b36367bdb185c6343a52bc041c75d444e92dedddf66b735ba8c4b95dafc6114db430d}

# How many GPUs and switches the machine should show: a host can leave some out.
expected_devices=${DEVICES:-1}

work=$(mktemp -d "${TMPDIR:-/tmp}/by-hand-XXXXXX")
cd "$work"

say() { printf '%s\n' "$*"; }
step() { printf '\n%s\n' "$*"; }
same() { # what, found, expected
  # A command that failed leaves nothing on its side: nothing equals nothing, and proves nothing.
  if [[ -n $3 && $2 == "$3" ]]; then
    say "   ok: $1 ${2:0:40}"
  else
    say "   REFUSED: $1"
    say "   found    $2"
    say "   expected $3"
    say "   Do not send anything. The files are in $work"
    exit 1
  fi
}
check() { # what, command...
  local what=$1
  shift
  if "$@" >openssl.txt 2>&1; then say "   ok: $what"; else
    cat openssl.txt
    say "   REFUSED: $what. The files are in $work"
    exit 1
  fi
}

# Bytes are hex digits from here on. Files hold the bytes themselves.
hex() { od -An -v -tx1 "$@" | tr -d ' \n'; }
unhex() { printf '%b' "$(sed 's/../\\x&/g' <<<"$1")"; }
sha() { unhex "$2" | openssl dgst "-sha$1" -r | cut -d' ' -f1; }
shafile() { openssl dgst "-sha$1" -r "$2" | cut -d' ' -f1; }
hmac() { unhex "$2" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$1" -r | cut -d' ' -f1; }
slice() { head -c $(($2 + $3)) "$1" | tail -c "$3"; } # file, offset, length
cbor() { node "$here/cbor.mjs" "$1"; } # into the folder FILE.d
count() { find "$1" -mindepth 1 -maxdepth 1 | wc -l; }

# CBOR, as far as it is needed: the first bytes of an item, a byte string, a text (RFC 8949 section 3).
cbor_head() { # major type, number
  local major=$(($1 << 5))
  if (($2 < 24)); then printf '%02x' $((major | $2))
  elif (($2 < 256)); then printf '%02x%02x' $((major | 24)) "$2"
  else printf '%02x%04x' $((major | 25)) "$2"; fi
}
bytes() { cbor_head 2 $((${#1} / 2)) && printf '%s' "$1"; }
text() { cbor_head 3 ${#1} && printf '%s' "$1" | hex; }

# An ECDSA signature is two numbers; openssl wants them in DER.
der_integer() {
  local n
  n=$(sed 's/^\(00\)*//' <<<"$1")
  [[ ${n:0:1} == [89a-f] ]] && n=00$n
  printf '02%02x%s' $((${#n} / 2)) "$n"
}
der_signature() { # r, s
  local both
  both=$(der_integer "$1")$(der_integer "$2")
  printf '30%02x%s' $((${#both} / 2)) "$both"
}
backwards() { fold -w2 | tac | tr -d '\n'; }
pem() { openssl x509 -inform der -in "$1" -out "$2"; }
spki() { openssl x509 -in "$1" -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -r | cut -d' ' -f1; }

# RFC 9162: the root that a leaf and its path lead to (section 2.1.3.2).
root_of_path() { # leaf hash, index, size, path...
  local r=$1 fn=$2 sn=$(($3 - 1)) p
  shift 3
  for p in "$@"; do
    if ((fn & 1 || fn == sn)); then
      r=$(sha 256 "01$p$r")
      while ((!(fn & 1) && fn != 0)); do fn=$((fn >> 1)) sn=$((sn >> 1)); done
    else
      r=$(sha 256 "01$r$p")
    fi
    fn=$((fn >> 1)) sn=$((sn >> 1))
  done
  ((sn == 0)) && printf '%s' "$r"
}
# The root over leaf hashes: pairs, level by level; what is left over moves up.
root_of_leaves() {
  local -a level=("$@") next
  while ((${#level[@]} > 1)); do
    next=()
    for ((i = 0; i + 1 < ${#level[@]}; i += 2)); do next+=("$(sha 256 "01${level[i]}${level[i + 1]}")"); done
    ((${#level[@]} % 2)) && next+=("${level[-1]}")
    level=("${next[@]}")
  done
  printf '%s' "${level[0]}"
}

evidence() { # folder: asks for evidence with a nonce of ours, and checks it
  mkdir "$1" && cd "$1"
  local nonce b g vcek path

  step "$1: a nonce that nobody could know before"
  nonce=$(openssl rand -hex 32)
  curl -fsS "$url/v1/attestation?nonce=$nonce" -o attestation.json
  node -e 'const a = JSON.parse(fs.readFileSync("attestation.json")); fs.writeFileSync("document.cbor", Buffer.from(a.document, "base64url"))'
  json() { node -p "const a = JSON.parse(fs.readFileSync('attestation.json')); $1"; }
  same 'the answer names the digest of its document' "$(shafile 256 document.cbor)" "$(json a.digest)"
  cbor document.cbor
  for part in keyset statement cpu devices; do cp document.cbor.d/$part/1 $part.cbor && cbor $part.cbor; done

  step "$1: the statement holds our nonce"
  path=$(json 'a.nonce.path.join(" ")')
  # shellcheck disable=SC2086 -- one word for each hash
  same 'nonce root' "$(root_of_path "$(sha 256 "00$nonce")" "$(json a.nonce.index)" "$(cat statement.cbor.d/4)" $path)" \
    "$(hex statement.cbor.d/5)"

  step "$1: the statement vouches for the keys in the document"
  same 'keyset digest' "$(sha 256 "82$(text vouchsafe/keyset-digest/1)$(bytes "$(hex keyset.cbor)")")" \
    "$(hex statement.cbor.d/3)"

  step "$1: the CPU report commits to the statement and to the reports of the devices"
  [[ $(cat cpu.cbor.d/1) == snp ]] || { say "   this platform is $(cat cpu.cbor.d/1): the steps here are those of SEV-SNP"; exit 3; }
  cp cpu.cbor.d/2/report report.bin
  b=$(shafile 256 statement.cbor)
  g=$(shafile 256 devices.cbor)
  same 'report data' "$(slice report.bin 80 64 | hex)" "$(sha 512 "83$(text vouchsafe/report-data/1)$(bytes "$b")$(bytes "$g")")"

  step "$1: the certificates lead to the root key that you trust"
  for i in 0 1 2; do pem cpu.cbor.d/2/certificates/$i cpu-$i.pem; done
  same 'root key of the CPU' "$(spki cpu-2.pem)" "$cpu_root"
  check 'chain of the CPU' openssl verify -no-CApath -no-CAstore -CAfile cpu-2.pem -untrusted cpu-1.pem cpu-0.pem

  step "$1: the CPU signed the report"
  slice report.bin 0 672 >signed.bin
  unhex "$(der_signature "$(slice report.bin 672 72 | hex | backwards)" "$(slice report.bin 744 72 | hex | backwards)")" >report.sig
  openssl x509 -in cpu-0.pem -noout -pubkey >vcek.pub
  check 'signature of the CPU' openssl dgst -sha384 -verify vcek.pub -signature report.sig signed.bin

  step "$1: the software that was launched, and without a debugger"
  same 'launch measurement' "$(slice report.bin 144 48 | hex)" "$measurement"
  same 'debug bit of the guest policy' $((16#$(slice report.bin 8 8 | hex | backwards) >> 19 & 1)) 0

  step "$1: the devices"
  local devices
  devices=$(count devices.cbor.d/1)
  same 'number of devices' "$devices" "$expected_devices"
  for ((d = 0; d < devices; d++)); do device "$d" "$b"; done
  cd ..
}

device() { # place, digest of the statement
  local certificates last
  local device=devices.cbor.d/1/$1
  cp "$device/1" "device-$1.bin"
  same "nonce of device $1" "$(slice "device-$1.bin" 4 32 | hex)" "$(sha 256 "82$(text vouchsafe/gpu-nonce/1)$(bytes "$2")")"
  certificates=$(count "$device/2")
  last=$((certificates - 1))
  : >"device-$1-between.pem"
  for ((i = 0; i < certificates; i++)); do
    pem "$device/2/$i" "device-$1-$i.pem"
    ((i > 0 && i < last)) && cat "device-$1-$i.pem" >>"device-$1-between.pem"
  done
  same "root key of device $1" "$(spki "device-$1-$last.pem")" "$gpu_root"
  check "chain of device $1" openssl verify -no-CApath -no-CAstore -ignore_critical -CAfile "device-$1-$last.pem" \
    -untrusted "device-$1-between.pem" "device-$1-0.pem"
  local length
  length=$(($(wc -c <"device-$1.bin") - 96))
  slice "device-$1.bin" 0 $length >signed.bin
  unhex "$(der_signature "$(slice "device-$1.bin" $length 48 | hex)" "$(slice "device-$1.bin" $((length + 48)) 48 | hex)")" >device.sig
  openssl x509 -in "device-$1-0.pem" -noout -pubkey >device.pub
  check "signature of device $1" openssl dgst -sha384 -verify device.pub -signature device.sig signed.bin
}

evidence before
[[ $cpu_root == 40a1dc0c* ]] && say && say "SIMULATED: this root is a published key of no vendor. What follows is protected by nothing."

step 'a request, and the answer to it'
printf '{"model":"%s","input":"hello"}' "$model" >request.json
nonce=$(openssl rand -hex 32)
curl -fsS -D headers.txt -o response.json -H 'content-type: application/json' -H "vouchsafe-nonce: $nonce" \
  ${VOUCHSAFE_API_KEY:+-H "authorization: Bearer $VOUCHSAFE_API_KEY"} --data-binary @request.json "$url/v1/embeddings"
header() { tr -d '\r' <headers.txt | sed -n "s/^$1: //Ip"; }
id=$(header vouchsafe-receipt-id)
k=$(node -p "Buffer.from('$(header vouchsafe-commitment-key)', 'base64url').toString('hex')")
say "   receipt $id"

step 'the receipt, once a later hardware report covers it'
curl -fsS -H 'vouchsafe-fresh: ?1' ${VOUCHSAFE_API_KEY:+-H "authorization: Bearer $VOUCHSAFE_API_KEY"} \
  "$url/v1/receipts/$id" -o receipt.cose
cbor receipt.cose
cp receipt.cose.d/2 claims.cbor && cbor claims.cbor
same 'the receipt cites the evidence that we checked' "$(hex claims.cbor.d/-65538)" "$(shafile 256 before/document.cbor)"
same 'and its keyset' "$(hex claims.cbor.d/-65539)" "$(hex before/statement.cbor.d/3)"
same 'our nonce' "$(hex claims.cbor.d/10)" "$nonce"
same 'id' "$(hex claims.cbor.d/7)" "$id"

step 'the key in that keyset signed it'
# Tag, array of four, and the context string: Sig_structure of RFC 9052 section 4.4.
unhex "84$(text Signature1)$(bytes "$(hex receipt.cose.d/0)")40$(bytes "$(hex claims.cbor)")" >signed.bin
[[ $(cat before/keyset.cbor.d/5/3) == -7 ]] || { say '   the receipt key is no P-256 key: the step here is that of ES256'; exit 3; }
unhex "3059301306072a8648ce3d020106082a8648ce3d03010703420004$(hex before/keyset.cbor.d/5/-2)$(hex before/keyset.cbor.d/5/-3)" >receipt.spki
openssl pkey -pubin -inform der -in receipt.spki -out receipt.pub
cp receipt.cose.d/3 receipt.rs
unhex "$(der_signature "$(slice receipt.rs 0 32 | hex)" "$(slice receipt.rs 32 32 | hex)")" >receipt.sig
check 'signature of the receipt' openssl dgst -sha256 -verify receipt.pub -signature receipt.sig signed.bin

step 'it commits to our request and to the answer that we have'
commitment() { # field, file
  local key
  key=$(hmac "$k" "84$(text vouchsafe/commit-key/1)$(bytes "$id")$(text "$1")00")
  hmac "$key" "86$(text vouchsafe/commit/1)$(bytes "$id")$(text "$1")00$(cbor_head 0 "$(wc -c <"$2")")$(bytes "$(shafile 256 "$2")")"
}
same 'commitment to the request' "$(commitment request request.json)" "$(hex claims.cbor.d/-65553/request)"
same 'commitment to the response' "$(commitment response response.json)" "$(hex claims.cbor.d/-65553/response)"

evidence after

step 'the log holds the receipt, and the later hardware report vouches for that log'
same 'the same keys as before' "$(shafile 256 after/keyset.cbor)" "$(shafile 256 before/keyset.cbor)"
index=$(cat claims.cbor.d/-65537)
size=$(cat after/statement.cbor.d/6)
((index >= $(cat before/statement.cbor.d/6) && index < size)) || { say "   REFUSED: index $index is not between the two reports"; exit 1; }
((size < 256)) || { say "   the log has $size entries: by hand this reads the first tile alone, and yours is past it"; exit 3; }
curl -fsS "$url/log/tile/0/000.p/$size" -o leaves.bin
leaves=()
for ((i = 0; i < size; i++)); do leaves+=("$(slice leaves.bin $((32 * i)) 32 | hex)"); done
same "leaf $index" "${leaves[index]}" "$(sha 256 "00$(hex receipt.cose)")"
same 'root of the log in the statement' "$(root_of_leaves "${leaves[@]}")" "$(hex after/statement.cbor.d/7)"

step 'the log key signed the head of the log'
curl -fsS "$url/log/checkpoint" -o checkpoint.txt
sed '/^$/,$d' checkpoint.txt >checkpoint.signed
same 'origin' "$(sed -n 1p checkpoint.txt)" "$(cat before/keyset.cbor.d/7)"
if [[ $(sed -n 2p checkpoint.txt) == "$size" ]]; then
  same 'root of the head' "$(sed -n 3p checkpoint.txt | openssl base64 -d -A | hex)" "$(hex after/statement.cbor.d/7)"
fi
sed -n '/^— /{s/^— [^ ]* //p;q}' checkpoint.txt | openssl base64 -d -A | tail -c 64 >checkpoint.sig
unhex "302a300506032b6570032100$(hex before/keyset.cbor.d/6/-2)" >log.spki
openssl pkey -pubin -inform der -in log.spki -out log.pub
check 'signature of the head' openssl pkeyutl -verify -pubin -inkey log.pub -rawin -in checkpoint.signed -sigfile checkpoint.sig

say
say "Everything agrees that was checked. README.md says what was not. The files are in $work"
