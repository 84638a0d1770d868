sri-signature 1
algorithm ed25519
key 54e00bea2134eaa2
signature lkqRTND4+HaCYOB0UVbepL3Rc+aS/w5rJO6rBy6/lbQOQ9Vd2OPk/eRhD4JUxknjqR8PMWOZOKCBnXrf8MubBg==
