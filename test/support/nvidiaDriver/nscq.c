/* The functions of NSCQ that Vouchsafe calls, with the names, prototypes and structures of nscq_attestation.h. */
#include "driver.h"

typedef int8_t nscq_rc_t;
typedef struct nscq_session_st *nscq_session_t;
typedef void (*nscq_fn_t)(void);

typedef struct {
  nscq_rc_t rc;
  nscq_session_t session;
} nscq_session_result_t;

typedef struct {
  uint8_t bytes[16];
} nscq_uuid_t;

typedef struct {
  char data[64];
} nscq_label_t;

typedef struct {
  uint32_t report_size;
  uint8_t report[0x2000];
} nscq_attestation_report_t;

typedef struct {
  uint8_t cert_chain[0x1400];
  uint32_t cert_chain_size;
} nscq_attestation_certificate_t;

typedef void (*uuid_fn)(const nscq_uuid_t *, nscq_rc_t, const nscq_uuid_t *, void *);
typedef void (*small_fn)(const nscq_uuid_t *, nscq_rc_t, int8_t, void *);
typedef void (*report_fn)(const nscq_uuid_t *, nscq_rc_t, const nscq_attestation_report_t, void *);
typedef void (*certificate_fn)(const nscq_uuid_t *, nscq_rc_t, const nscq_attestation_certificate_t, void *);

#define SESSION ((nscq_session_t)0x20000)

static char nonce[65];

nscq_session_result_t nscq_session_create(uint32_t flags) {
  char line[64];
  answer_t answer;
  sprintf(line, "nscq_session_create %u\n", flags);
  ask(&answer, line);
  nscq_session_result_t result = {(nscq_rc_t)answer.code, answer.code == 0 ? SESSION : NULL};
  return result;
}

void nscq_session_destroy(nscq_session_t session) {
  answer_t answer;
  if (session == SESSION) ask(&answer, "nscq_session_destroy\n");
}

nscq_rc_t nscq_session_set_input(nscq_session_t session, uint32_t flags, void *data, uint32_t size) {
  answer_t answer;
  if (session != SESSION || flags != 0 || size != 32) return -5;
  ask(&answer, "nscq_session_set_input\n");
  if (answer.code == 0) hex(nonce, data, size);
  return (nscq_rc_t)answer.code;
}

nscq_rc_t nscq_uuid_to_label(const nscq_uuid_t *uuid, nscq_label_t *label, uint32_t flags) {
  char line[128], text[33];
  answer_t answer;
  if (flags != 0) return -5;
  hex(text, uuid->bytes, sizeof uuid->bytes);
  sprintf(line, "nscq_uuid_to_label %s\n", text);
  ask(&answer, line);
  if (answer.code == 0) copy(label->data, sizeof label->data, &answer);
  return (nscq_rc_t)answer.code;
}

/* Answers name the result of the observer in the first byte of each value, and how long a value is in `number`. */
nscq_rc_t nscq_session_path_observe(nscq_session_t session, const char *path, nscq_fn_t fn, void *data,
                                    uint32_t flags) {
  static const nscq_uuid_t device;
  char line[256];
  answer_t answer;
  if (session != SESSION || flags != 0) return -5;
  snprintf(line, sizeof line, "observe %s %s\n", path, nonce);
  ask(&answer, line);
  if (answer.code != 0) return (nscq_rc_t)answer.code;
  for (uint32_t at = 0; answer.number > 0 && at + answer.number <= answer.length; at += answer.number) {
    nscq_rc_t rc = (nscq_rc_t)answer.bytes[at];
    const unsigned char *value = answer.bytes + at + 1;
    if (strstr(path, "/uuid")) {
      nscq_uuid_t uuid;
      memcpy(uuid.bytes, value, sizeof uuid.bytes);
      ((uuid_fn)fn)(&device, rc, &uuid, data);
    } else if (strstr(path, "/attestation_report")) {
      nscq_attestation_report_t report = {0};
      memcpy(&report.report_size, value, 4);
      memcpy(report.report, value + 4, answer.number - 5 < 0x2000 ? answer.number - 5 : 0x2000);
      ((report_fn)fn)(&device, rc, report, data);
    } else if (strstr(path, "/certificate")) {
      nscq_attestation_certificate_t certificate = {0};
      memcpy(&certificate.cert_chain_size, value, 4);
      memcpy(certificate.cert_chain, value + 4, answer.number - 5 < 0x1400 ? answer.number - 5 : 0x1400);
      ((certificate_fn)fn)(&device, rc, certificate, data);
    } else {
      ((small_fn)fn)(&device, rc, (int8_t)value[0], data);
    }
  }
  return 0;
}
