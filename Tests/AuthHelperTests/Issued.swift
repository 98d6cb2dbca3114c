// SPDX-License-Identifier: Apache-2.0
//
// A set of keys and tokens that were signed with them by python3-cryptography.

enum Issued {
    static let keys = """
        {"keys":[{"kty":"RSA","kid":"r","use":"sig","alg":"RS256","n":"smVmlgnoaPLtyrX3hbMer\
        Sh5ZW6z1fsM3V3OtJqrLhJo2UynfQCiuYZrl017w8o84iGsVdCDH-MU3xIwxR0yBwERxRf-K8Fs-_jEG0IwV\
        XMCHeYh2yM5jLeLn9AkYZRKurFCpVe6FDSglCjf4uFeoLVkZhS9snySOG0mVbKC79E-TclU7pkBXhSjo2Ewa\
        MFCQd73i2csuZIy8Hsm2yLjtTrnSTUvAEbWYKhw6Ifb59gB13DPCfSaNi8uc1fteFMUzehPWC3W97W5l_1sf\
        Ul_modYhWfW3UxvgaWSYVrWnAItTP1pAF62HjyhaKIrBC6yEd0EtSQEQrXHTYmsoFSABw","e":"AQAB"},{\
        "kty":"EC","kid":"e","crv":"P-256","x":"0wHIKwG-2VLuEL4FyynPNGBTR2q-Lw4tQtGUQnlX13Y"\
        ,"y":"cwzeXrwO7qysn7fdRMCyYR2HFSYohzBwCM0CAicb7rY"},{"kty":"OKP","kid":"d","crv":"Ed\
        25519","alg":"EdDSA","x":"kUibykzXw-EuF_GkayTNfiRIqVZEx_X-y1RBF_WAMEs"},{"kty":"RSA"\
        ,"kid":"enc","use":"enc","n":"smVmlgnoaPLtyrX3hbMerSh5ZW6z1fsM3V3OtJqrLhJo2UynfQCiuY\
        Zrl017w8o84iGsVdCDH-MU3xIwxR0yBwERxRf-K8Fs-_jEG0IwVXMCHeYh2yM5jLeLn9AkYZRKurFCpVe6FD\
        SglCjf4uFeoLVkZhS9snySOG0mVbKC79E-TclU7pkBXhSjo2EwaMFCQd73i2csuZIy8Hsm2yLjtTrnSTUvAE\
        bWYKhw6Ifb59gB13DPCfSaNi8uc1fteFMUzehPWC3W97W5l_1sfUl_modYhWfW3UxvgaWSYVrWnAItTP1pAF\
        62HjyhaKIrBC6yEd0EtSQEQrXHTYmsoFSABw","e":"AQAB"},{"kty":"RSA","kid":"small","n":"28\
        r8xz_hSYzCZhxCtpcBz4w5e6ahkdmaK8qq5d9AdkP-3M-ToutSq1z--uea8GuQdzpniAprUnnDMQmCa150bj\
        DbeQNFo_Ifh1OCuJA9rikez8nzawQhmjFcD7u-wog9QBy8tSUtwmOGX3vtpiNFK2fCemWlnLSJ_x5O-K2D_W\
        c","e":"AQAB"},{"kty":"oct","kid":"h","k":"c2VjcmV0"}]}
        """
    static let rs256 = """
        eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAiciJ9.eyJpc3MiOiAiaHR0cHM6Ly9pc3N\
        1ZXIuZXhhbXBsZSIsICJhdWQiOiBbIm1haWwiLCAid2ViIl0sICJzdWIiOiAiMSIsICJlbWFpbCI6ICJhbGl\
        jZUBleGFtcGxlLnRlc3QiLCAiZW1haWxfdmVyaWZpZWQiOiB0cnVlLCAiaWF0IjogMTAwMCwgIm5iZiI6IDE\
        wMDAsICJleHAiOiAyMDAwLCAic2NvcGUiOiAib3BlbmlkIG1haWwifQ.EhwC0seN2YwsqrRZR4k0JOHfERsM\
        ZJmIoik3TapiyN8vExu2R54hKR44VchytRyUbh5flb9y9tAAdszpwTtdto10nctsJO60RBjxNTedyv7px848\
        EFcR7eAMezGTYBh5HUvO6g_jVeVlXaRKf39b2eBQHI_b7ChHfa7P_9HK65OyxAPNs70djRxEhxSTcglIhLXe\
        klxCFwPmz2vIaKICVBYCdGQfKppMfQ9XwVqcMK2sQAiZCC-k5h1rlzr1zhhbZVmhXHLs49ggJU07YzmrJvyZ\
        nmDGM24MznkRv7KWn8ELjUTutIAE0rBFBGWkx3UTJo-XajJw7WRp_hiKkWdrLg
        """
    static let rs256WithoutKey = """
        eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCJ9.eyJpc3MiOiAiaHR0cHM6Ly9pc3N1ZXIuZXhhbXBsZSI\
        sICJhdWQiOiBbIm1haWwiLCAid2ViIl0sICJzdWIiOiAiMSIsICJlbWFpbCI6ICJhbGljZUBleGFtcGxlLnR\
        lc3QiLCAiZW1haWxfdmVyaWZpZWQiOiB0cnVlLCAiaWF0IjogMTAwMCwgIm5iZiI6IDEwMDAsICJleHAiOiA\
        yMDAwLCAic2NvcGUiOiAib3BlbmlkIG1haWwifQ.TaYTqjhKX5SxRPX2Hw2r4a0WhyF4fB78TREHPDi1XqO3\
        DTxksHZgF4ilZvm9T3vFL6fYgwDZwQjkIwgKDcXQWD8BmcGwpKketol09VGVrs5goPOgdlGCtUvBN5Ft8P3E\
        ZtaM-H62JNWguBGX-gTpFhEKph0TAxNnUHxtym5jnyq2LzQaU1ExK2YujTpOlZSfio0NDlU7hBa0JP5fesjn\
        TnbG1ps_XbV2CUWLh5FFmnMFdOSPzJLrJjWafA2wLoXJvHVXFR0sWwSaEAnxaA4VVqOMjPjn5iEm_MDErFrv\
        rYhY6IWogHFkaqxlNzG8dDxZIi4MWVq2TAVrvjF8h4n19g
        """
    static let es256 = """
        eyJhbGciOiAiRVMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAiZSJ9.eyJpc3MiOiAiaHR0cHM6Ly9pc3N\
        1ZXIuZXhhbXBsZSIsICJhdWQiOiBbIm1haWwiLCAid2ViIl0sICJzdWIiOiAiMSIsICJlbWFpbCI6ICJhbGl\
        jZUBleGFtcGxlLnRlc3QiLCAiZW1haWxfdmVyaWZpZWQiOiB0cnVlLCAiaWF0IjogMTAwMCwgIm5iZiI6IDE\
        wMDAsICJleHAiOiAyMDAwLCAic2NvcGUiOiAib3BlbmlkIG1haWwifQ.PWbUiIY3Py8HWbNHEI1sz8dzaYN9\
        2CNzAuOn1htHZh7OhMYP01JpWRBCg-QCBYJCx81JKd3MtNJ9NrV8v4Snag
        """
    static let edDSA = """
        eyJhbGciOiAiRWREU0EiLCAidHlwIjogIkpXVCIsICJraWQiOiAiZCJ9.eyJpc3MiOiAiaHR0cHM6Ly9pc3N\
        1ZXIuZXhhbXBsZSIsICJhdWQiOiBbIm1haWwiLCAid2ViIl0sICJzdWIiOiAiMSIsICJlbWFpbCI6ICJhbGl\
        jZUBleGFtcGxlLnRlc3QiLCAiZW1haWxfdmVyaWZpZWQiOiB0cnVlLCAiaWF0IjogMTAwMCwgIm5iZiI6IDE\
        wMDAsICJleHAiOiAyMDAwLCAic2NvcGUiOiAib3BlbmlkIG1haWwifQ.XwddffQRxIUXBKJIaCkU5HbZY1wj\
        4apF9ynDgPmcTTQMQ58h81QGKZDra4u9eNahbVrG9lcm3Q2to8E0V9VWCw
        """
    static let hmac = """
        eyJhbGciOiAiSFMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAiciJ9.eyJpc3MiOiAiaHR0cHM6Ly9pc3N\
        1ZXIuZXhhbXBsZSIsICJhdWQiOiBbIm1haWwiLCAid2ViIl0sICJzdWIiOiAiMSIsICJlbWFpbCI6ICJhbGl\
        jZUBleGFtcGxlLnRlc3QiLCAiZW1haWxfdmVyaWZpZWQiOiB0cnVlLCAiaWF0IjogMTAwMCwgIm5iZiI6IDE\
        wMDAsICJleHAiOiAyMDAwLCAic2NvcGUiOiAib3BlbmlkIG1haWwifQ.Kzyu5bCF6Hc0JNZCC8X3B7Hn6qP8\
        Vs123FVG75-xees
        """
    static let crossed = """
        eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAiZSJ9.eyJpc3MiOiAiaHR0cHM6Ly9pc3N\
        1ZXIuZXhhbXBsZSIsICJhdWQiOiBbIm1haWwiLCAid2ViIl0sICJzdWIiOiAiMSIsICJlbWFpbCI6ICJhbGl\
        jZUBleGFtcGxlLnRlc3QiLCAiZW1haWxfdmVyaWZpZWQiOiB0cnVlLCAiaWF0IjogMTAwMCwgIm5iZiI6IDE\
        wMDAsICJleHAiOiAyMDAwLCAic2NvcGUiOiAib3BlbmlkIG1haWwifQ.gZn004xpMvwO4gPhxOEg6EfT228J\
        AFYGsLtEgDF_LC8w6vz_2-5S9dpNIzT9blCS91h45L88X-Z_hnvnJpGRvJh3Yz1jDjICEKkWRPyL3MgmMil7\
        QgE40PlmvuX9CsWPIHeuGumo77QEhHhih8-us7Wcq-BpURLd00a4fqKAQea4aOcAlpmGODQ9Uyihyb3AnmuA\
        VNdmxmoo-Tp3JjBMWlvIstJedgFw3oFvoVZFckInsGdRorjWDLfo8UyQFtH8sAe0pwThQ86MI9yCUo8tKHB6\
        K_h4oUY_oBG9iGWbL2dieIJRPoTNiioCNVoATcgWUQsC4zDHQ3mdnV-cH-cYqw
        """
    static let small = """
        eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAic21hbGwifQ.eyJpc3MiOiAiaHR0cHM6L\
        y9pc3N1ZXIuZXhhbXBsZSIsICJhdWQiOiBbIm1haWwiLCAid2ViIl0sICJzdWIiOiAiMSIsICJlbWFpbCI6I\
        CJhbGljZUBleGFtcGxlLnRlc3QiLCAiZW1haWxfdmVyaWZpZWQiOiB0cnVlLCAiaWF0IjogMTAwMCwgIm5iZ\
        iI6IDEwMDAsICJleHAiOiAyMDAwLCAic2NvcGUiOiAib3BlbmlkIG1haWwifQ.h-74bKSDJ63QLQFAStiPFn\
        6Ox9VYGhCMHPtRFHz2xuB88f4Q1VKpdTOeAF5Ck0dssbvod49uS6yOOSqzuTuuPhswiIWz_8HuHDRniKF2F6\
        d4q2qOwSboZNKzZ_4l7QbOvTl60dMDbQv0x6FJHnEuHCZUCWadzpIKz6i93DZqD7c
        """
    static let encryption = """
        eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAiZW5jIn0.eyJpc3MiOiAiaHR0cHM6Ly9p\
        c3N1ZXIuZXhhbXBsZSIsICJhdWQiOiBbIm1haWwiLCAid2ViIl0sICJzdWIiOiAiMSIsICJlbWFpbCI6ICJh\
        bGljZUBleGFtcGxlLnRlc3QiLCAiZW1haWxfdmVyaWZpZWQiOiB0cnVlLCAiaWF0IjogMTAwMCwgIm5iZiI6\
        IDEwMDAsICJleHAiOiAyMDAwLCAic2NvcGUiOiAib3BlbmlkIG1haWwifQ.qcd1z00idKFXgqD_e3Sa4IbWp\
        1cBIYoNQ6Z-tUfuTxWVXya8VMqq106GMk0o1E31cHjZ9Yugan3wS3ZZRGey1kYJLtjAUxXmN4_0FP2GA023X\
        YNs0S-3HGpuGOSorZ7ZmSV_O1xAC0if8oEueSB9tJ6rsfegg1xvKUPKkoLaY-bawlskTBNjvMnMkFzGrjdY4\
        DnA1q7TVa9J7Pb1ujWiF6AAo0Yu5J9PZMkARsAYwOJIyyxRRwI5uFjq0HO6uItfXzQS8cWBBNzWMz8YVfyve\
        PnZDlKHy8B5YKL64UHzXJrZ-5qvZrfuxzhis-93X3aYK5DzZWDeeKfEbUtRvYKdiQ
        """
}
