"""Parallel words of German, French, Spanish and Italian, with the forms that the grammar needs.

Each table row is one meaning, so that a sentence built from the same rows in two languages says the
same. Every person is third person singular; every thing is countable.
"""

# ruff: noqa: E501 - a meaning is one line, so that its languages can be read side by side.

from __future__ import annotations

from dataclasses import dataclass

from llm_validation.data.builtin.drawing import lines

LANGUAGES = ("German", "French", "Spanish", "Italian")


@dataclass(frozen=True)
class Noun:
    """A thing in one language: gender (m, f or n), singular and plural."""

    gender: str
    singular: str
    plural: str


def _table(block: str) -> list[dict[str, str]]:
    columns = ("English", *LANGUAGES)
    return [
        dict(zip(columns, (cell.strip() for cell in line.split("|")), strict=True))
        for line in lines(block)
    ]


def _noun(cell: str) -> Noun:
    gender, singular, plural = cell.split(" ", 2)
    return Noun(gender, singular, plural)


# English singular and plural; then gender, singular and plural.
THINGS: list[dict[str, Noun]] = [
    {language: _noun(cell) for language, cell in row.items()}
    for row in _table("""
        n chair chairs | m Stuhl Stühle | f chaise chaises | f silla sillas | f sedia sedie
        n table tables | m Tisch Tische | f table tables | f mesa mesas | m tavolo tavoli
        n lamp lamps | f Lampe Lampen | f lampe lampes | f lámpara lámparas | f lampada lampade
        n bag bags | f Tasche Taschen | m sac sacs | m bolso bolsos | f borsa borse
        n book books | n Buch Bücher | m livre livres | m libro libros | m libro libri
        n bicycle bicycles | n Fahrrad Fahrräder | m vélo vélos | f bicicleta bicicletas | f bicicletta biciclette
        n car cars | n Auto Autos | f voiture voitures | m coche coches | f macchina macchine
        n mirror mirrors | m Spiegel Spiegel | m miroir miroirs | m espejo espejos | m specchio specchi
        n umbrella umbrellas | m Regenschirm Regenschirme | m parapluie parapluies | m paraguas paraguas | m ombrello ombrelli
        n boat boats | n Boot Boote | m bateau bateaux | m barco barcos | f barca barche
        n box boxes | f Schachtel Schachteln | f boîte boîtes | f caja cajas | f scatola scatole
        n coat coats | m Mantel Mäntel | m manteau manteaux | m abrigo abrigos | m cappotto cappotti
        n carpet carpets | m Teppich Teppiche | m tapis tapis | f alfombra alfombras | m tappeto tappeti
        n piano pianos | n Klavier Klaviere | m piano pianos | m piano pianos | m pianoforte pianoforti
        n door doors | f Tür Türen | f porte portes | f puerta puertas | f porta porte
        n suitcase suitcases | m Koffer Koffer | f valise valises | f maleta maletas | f valigia valigie
        n guitar guitars | f Gitarre Gitarren | f guitare guitares | f guitarra guitarras | f chitarra chitarre
        n hat hats | m Hut Hüte | m chapeau chapeaux | m sombrero sombreros | m cappello cappelli
        n shelf shelves | n Regal Regale | f étagère étagères | f estantería estanterías | m scaffale scaffali
        n basket baskets | m Korb Körbe | m panier paniers | f cesta cestas | m cesto cesti
        n key keys | m Schlüssel Schlüssel | f clé clés | f llave llaves | f chiave chiavi
        n bottle bottles | f Flasche Flaschen | f bouteille bouteilles | f botella botellas | f bottiglia bottiglie
        n plate plates | m Teller Teller | f assiette assiettes | m plato platos | m piatto piatti
        n spoon spoons | m Löffel Löffel | f cuillère cuillères | f cuchara cucharas | m cucchiaio cucchiai
    """)
]


@dataclass(frozen=True)
class Adjective:
    """An adjective in one language: masculine and feminine, singular and plural.

    German holds its stem in all four forms; ``precedes`` says that it stands before the noun.
    """

    masculine: str
    feminine: str
    masculine_plural: str
    feminine_plural: str
    precedes: bool = False

    def agreeing(self, gender: str, *, plural: bool = False) -> str:
        """The form for a masculine (m) or feminine (f) noun."""
        if gender == "f":
            return self.feminine_plural if plural else self.feminine
        return self.masculine_plural if plural else self.masculine


def _adjective(cell: str) -> Adjective:
    forms = cell.removeprefix("<").split()
    return Adjective(*(forms * 4 if len(forms) == 1 else forms), precedes=cell.startswith("<"))


def _adjectives(block: str) -> list[dict[str, Adjective]]:
    return [{language: _adjective(cell) for language, cell in row.items()} for row in _table(block)]


# One form where all agree, else m, f, m plural, f plural; "<" stands before its noun.
COLORS = _adjectives("""
    red | rot | rouge rouge rouges rouges | rojo roja rojos rojas | rosso rossa rossi rosse
    blue | blau | bleu bleue bleus bleues | azul azul azules azules | blu
    green | grün | vert verte verts vertes | verde verde verdes verdes | verde verde verdi verdi
    white | weiß | blanc blanche blancs blanches | blanco blanca blancos blancas | bianco bianca bianchi bianche
    black | schwarz | noir noire noirs noires | negro negra negros negras | nero nera neri nere
    gray | grau | gris grise gris grises | gris gris grises grises | grigio grigia grigi grigie
""")
JUDGMENTS = _adjectives("""
    heavy | schwer | lourd lourde lourds lourdes | pesado pesada pesados pesadas | pesante pesante pesanti pesanti
    expensive | teur | cher chère chers chères | caro cara caros caras | costoso costosa costosi costose
    modern | modern | moderne moderne modernes modernes | moderno moderna modernos modernas | moderno moderna moderni moderne
    large | groß | <grand grande grands grandes | grande grande grandes grandes | <grande grande grandi grandi
    small | klein | <petit petite petits petites | pequeño pequeña pequeños pequeñas | <piccolo piccola piccoli piccole
""")
ADJECTIVES = COLORS + JUDGMENTS
# German adjectives that are not their stem when they follow the verb.
GERMAN_PREDICATE = {"teur": "teuer"}

# Who: subject forms.
PEOPLE = _table("""
    my sister | meine Schwester | ma sœur | mi hermana | mia sorella
    my brother | mein Bruder | mon frère | mi hermano | mio fratello
    the teacher | die Lehrerin | l'enseignante | la profesora | l'insegnante
    the doctor | der Arzt | le médecin | el médico | il medico
    our neighbor | unser Nachbar | notre voisin | nuestro vecino | il nostro vicino
    the student | der Student | l'étudiant | el estudiante | lo studente
    the cook | der Koch | le cuisinier | el cocinero | il cuoco
    the gardener | der Gärtner | le jardinier | el jardinero | il giardiniere
    my grandmother | meine Großmutter | ma grand-mère | mi abuela | mia nonna
    my uncle | mein Onkel | mon oncle | mi tío | mio zio
    our aunt | unsere Tante | notre tante | nuestra tía | nostra zia
    the singer | die Sängerin | la chanteuse | la cantante | la cantante
    the child | das Kind | l'enfant | el niño | il bambino
    the painter | die Malerin | la peintre | la pintora | la pittrice
    the baker | der Bäcker | le boulanger | el panadero | il fornaio
""")

# Past: English past; German participle (with haben); French participle (with avoir); Spanish
# preterite; Italian participle (with avere).
PAST_VERBS = _table("""
    bought | gekauft | acheté | compró | comprato
    sold | verkauft | vendu | vendió | venduto
    found | gefunden | trouvé | encontró | trovato
    painted | gemalt | peint | pintó | dipinto
    repaired | repariert | réparé | reparó | riparato
    cleaned | geputzt | nettoyé | limpió | pulito
    ordered | bestellt | commandé | encargó | ordinato
    saw | gesehen | vu | vio | visto
    described | beschrieben | décrit | describió | descritto
    photographed | fotografiert | photographié | fotografió | fotografato
    lost | verloren | perdu | perdió | perso
    forgot | vergessen | oublié | olvidó | dimenticato
""")

# Present, third person singular.
PRESENT_VERBS = _table("""
    cleans | putzt | nettoie | limpia | pulisce
    looks for | sucht | cherche | busca | cerca
    forgets | vergisst | oublie | olvida | dimentica
    sees | sieht | voit | ve | vede
    photographs | fotografiert | photographie | fotografía | fotografa
    repairs | repariert | répare | repara | ripara
    describes | beschreibt | décrit | describe | descrive
""")

PAST_TIMES = _table("""
    yesterday | gestern | hier | ayer | ieri
    last week | letzte Woche | la semaine dernière | la semana pasada | la settimana scorsa
    two days ago | vor zwei Tagen | il y a deux jours | hace dos días | due giorni fa
    last summer | letzten Sommer | l'été dernier | el verano pasado | l'estate scorsa
    last Sunday | letzten Sonntag | dimanche dernier | el domingo pasado | domenica scorsa
    last month | letzten Monat | le mois dernier | el mes pasado | il mese scorso
    a year ago | vor einem Jahr | il y a un an | hace un año | un anno fa
""")

HABITS = _table("""
    every morning | jeden Morgen | chaque matin | cada mañana | ogni mattina
    every week | jede Woche | chaque semaine | cada semana | ogni settimana
    in summer | im Sommer | en été | en verano | d'estate
    after work | nach der Arbeit | après le travail | después del trabajo | dopo il lavoro
    before dinner | vor dem Abendessen | avant le dîner | antes de la cena | prima di cena
    every year | jedes Jahr | chaque année | cada año | ogni anno
""")

FUTURE_TIMES = _table("""
    tomorrow | morgen | demain | mañana | domani
    next week | nächste Woche | la semaine prochaine | la próxima semana | la prossima settimana
    on Saturday | am Samstag | samedi | el sábado | sabato
    this afternoon | heute Nachmittag | cet après-midi | esta tarde | questo pomeriggio
    next month | nächsten Monat | le mois prochain | el próximo mes | il prossimo mese
""")

PLACES = _table("""
    in the garden | im Garten | dans le jardin | en el jardín | in giardino
    at the market | auf dem Markt | au marché | en el mercado | al mercato
    in town | in der Stadt | en ville | en la ciudad | in città
    at the station | am Bahnhof | à la gare | en la estación | alla stazione
    in the kitchen | in der Küche | dans la cuisine | en la cocina | in cucina
    near the river | in der Nähe des Flusses | près de la rivière | cerca del río | vicino al fiume
    in the village | im Dorf | dans le village | en el pueblo | nel villaggio
    at school | in der Schule | à l'école | en la escuela | a scuola
    in front of the library | vor der Bibliothek | devant la bibliothèque | delante de la biblioteca | davanti alla biblioteca
    behind the house | hinter dem Haus | derrière la maison | detrás de la casa | dietro la casa
""")

# What someone wants to do: infinitives.
WISHES = _table("""
    go to the museum | ins Museum gehen | aller au musée | ir al museo | andare al museo
    visit the old town hall | das alte Rathaus besichtigen | visiter le vieil hôtel de ville | visitar el viejo ayuntamiento | visitare il vecchio municipio
    buy fresh bread | frisches Brot kaufen | acheter du pain frais | comprar pan fresco | comprare del pane fresco
    call the office | im Büro anrufen | appeler le bureau | llamar a la oficina | chiamare l'ufficio
    paint the fence | den Zaun streichen | peindre la clôture | pintar la valla | dipingere la recinzione
    plant two trees | zwei Bäume pflanzen | planter deux arbres | plantar dos árboles | piantare due alberi
    cook for the whole family | für die ganze Familie kochen | cuisiner pour toute la famille | cocinar para toda la familia | cucinare per tutta la famiglia
    swim in the lake | im See schwimmen | nager dans le lac | nadar en el lago | nuotare nel lago
    finish the report | den Bericht fertigstellen | terminer le rapport | terminar el informe | finire la relazione
    travel by train | mit dem Zug reisen | voyager en train | viajar en tren | viaggiare in treno
    learn a new song | ein neues Lied lernen | apprendre une nouvelle chanson | aprender una canción nueva | imparare una nuova canzone
    write a long letter | einen langen Brief schreiben | écrire une longue lettre | escribir una carta larga | scrivere una lunga lettera
""")

# After "when"; German with its verb at the end.
WEATHER = _table("""
    it rains | es regnet | il pleut | llueve | piove
    it snows | es schneit | il neige | nieva | nevica
    it is cold | es kalt ist | il fait froid | hace frío | fa freddo
    it is very hot | es sehr heiß ist | il fait très chaud | hace mucho calor | fa molto caldo
    the sun is shining | die Sonne scheint | le soleil brille | brilla el sol | splende il sole
    we have time | wir Zeit haben | nous avons le temps | tenemos tiempo | abbiamo tempo
    we are tired | wir müde sind | nous sommes fatigués | estamos cansados | siamo stanchi
""")

# What "we" then do; German with its verb before its subject.
PASTIMES = _table("""
    we stay at home | bleiben wir zu Hause | nous restons à la maison | nos quedamos en casa | restiamo a casa
    we play cards | spielen wir Karten | nous jouons aux cartes | jugamos a las cartas | giochiamo a carte
    we make soup | machen wir Suppe | nous faisons de la soupe | hacemos sopa | facciamo la zuppa
    we go to the park | gehen wir in den Park | nous allons au parc | vamos al parque | andiamo al parco
    we drink tea | trinken wir Tee | nous buvons du thé | bebemos té | beviamo il tè
    we take the bus | nehmen wir den Bus | nous prenons le bus | tomamos el autobús | prendiamo l'autobus
    we work in the garden | arbeiten wir im Garten | nous travaillons dans le jardin | trabajamos en el jardín | lavoriamo in giardino
    we listen to music | hören wir Musik | nous écoutons de la musique | escuchamos música | ascoltiamo la musica
    we write letters | schreiben wir Briefe | nous écrivons des lettres | escribimos cartas | scriviamo lettere
    we look at old photos | sehen wir uns alte Fotos an | nous regardons de vieilles photos | miramos fotos viejas | guardiamo vecchie foto
""")

NUMBERS = _table("""
    two | zwei | deux | dos | due
    three | drei | trois | tres | tre
    four | vier | quatre | cuatro | quattro
    five | fünf | cinq | cinco | cinque
    six | sechs | six | seis | sei
    seven | sieben | sept | siete | sette
""")
